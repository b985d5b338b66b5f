"""An ONNX file says in another runtime what the network says in torch."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from numpy.testing import assert_allclose

from lossbench.errors import UserError
from lossbench.inference.onnx import export_onnx
from lossbench.inference.predictor import Predictor

CASES = [
    ("focal", "rings", {"dropout": 0.5, "normalization": "batch"}),
    ("arcface", "iris", {"activation": "gelu"}),
    ("sparsemax", "iris", {"normalization": "layer", "activation": "tanh"}),
    pytest.param("bi_tempered", "iris", {}, marks=pytest.mark.slow),
    pytest.param("bce", "rings", {}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("loss", "on", "settings"), CASES)
def test_onnxruntime_says_the_same(
    loss: str, on: str, settings: dict[str, Any], make: Callable[..., Any], tmp_path: Path
) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model = {"_target_": "lossbench.models.mlp.Mlp", "_partial_": True, "widths": [5, 4], **settings}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fits to scores of an untrained network
        made = make(loss, on, model=model)
    predictor = Predictor(made.content)
    export_onnx(predictor, tmp_path / "model.onnx")
    session = runtime.InferenceSession(tmp_path / "model.onnx")
    features = predictor.preprocessing.apply(made.raw)
    scores, probs = session.run(None, {"features": features.astype("float32")})
    expected = predictor.scores(made.raw)
    # relative to the largest, since arcface's scores in single precision go to 64
    assert_allclose(scores, expected, rtol=0, atol=1e-5 * max(1, abs(expected).max()))
    assert_allclose(probs, predictor.probs(predictor.scores(made.raw)), rtol=0, atol=1e-5)
    said = session.get_modelmeta().custom_metadata_map
    assert tuple(json.loads(said["lossbench.classes"])) == predictor.task.class_names
    assert tuple(json.loads(said["lossbench.features"])) == predictor.preprocessing.feature_names


def test_without_its_packages_it_says_what_to_install(
    make: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match=r"pip install 'lossbench\[onnx\]'"):
        export_onnx(Predictor(make().content), tmp_path / "model.onnx")
