"""A trained network as an ONNX file, for runtimes without Python."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from lossbench.errors import UserError
from lossbench.inference.predictor import Predictor


class _Graph(nn.Module):
    """Features to scores and the link's probabilities."""

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.network = predictor.network
        self.loss = predictor.loss

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        scores = self.network(features)
        return scores, self.loss.link.probs(scores)


def export_onnx(predictor: Predictor, path: Path) -> None:
    """Write the network and the loss's link: ``features`` (N, F) become ``scores`` and ``probabilities`` (N, K).

    The features are those that the preprocessing makes, scaled and encoded; the file's metadata names them and the
    classes (``lossbench.features``, ``lossbench.classes``, JSON). Preprocessing and posterior stay in Python: the
    posterior is the loss's own gradient or a calibrator, which ONNX would have to be taught.

    Raises
    ------
    UserError
        Without the packages of the extra ``onnx``, for a link that ONNX has no operators for, or a file that cannot be
        written.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 (torch's exporter needs it)
    except ImportError as error:
        raise UserError(f"ONNX needs the packages of an extra: pip install 'lossbench[onnx]' ({error})") from error
    tensors = (tensor for tensor in predictor.network.state_dict().values() if tensor.is_floating_point())
    dtype = next(tensors, torch.empty(0)).dtype
    rows = torch.export.Dim("rows")
    example = torch.zeros(2, predictor.task.n_features, dtype=dtype)
    try:
        # The exporter reports its steps on the terminal.
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _silent("torch.onnx"):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                _Graph(predictor).eval(),
                (example,),
                input_names=["features"],
                output_names=["scores", "probabilities"],
                dynamic_shapes={"features": {0: rows}},
                dynamo=True,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        link = predictor.loss.link.name
        raise UserError(f"ONNX has no operators for this network or the link {link!r} of its loss") from error
    assert program is not None
    model = program.model_proto
    for key, value in (("features", predictor.preprocessing.feature_names), ("classes", predictor.task.class_names)):
        entry = model.metadata_props.add()
        entry.key, entry.value = f"lossbench.{key}", json.dumps(list(value), ensure_ascii=False)
    try:
        onnx.save(model, str(path))
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error


@contextlib.contextmanager
def _silent(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
