"""A run's model as an MLflow model: raw columns in, labels, probabilities and scores out, anywhere."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lossbench.errors import UserError
from lossbench.inference.predictor import Predictor
from lossbench.inference.sources import copy_sources, requirements
from lossbench.tracking.schema import Artifact

if TYPE_CHECKING:
    from lossbench.tracking.models import Logged
    from lossbench.tracking.store.open import Store


def export(
    store: Store,
    run_id: str,
    model: bytes,
    *,
    register: str | None = None,
    trust: bool = False,
    code: Sequence[Path] = (),
    require: Sequence[str] = (),
) -> Logged:
    """Log a run's model under the run, in a form that needs MLflow and the packages that it lists, but no lossbench.

    Parameters
    ----------
    run_id
        The run that it stands under.
    model
        The bytes of its ``model.pt``.
    register
        Name in MLflow's registry; None registers nothing.
    trust
        Build parts of packages other than lossbench and torch, here and wherever it is loaded.
    code
        A person's own modules and packages, which travel with the model.
    require
        Packages beside those that lossbench and the config's parts come from, as pip takes them.

    Raises
    ------
    UserError
        For a part that may not be built, or a file that is not there.
    """
    from lossbench.tracking.models import Package, log_model

    predictor = Predictor.load(io.BytesIO(model), f"the model of run {run_id}", trust=trust)
    for path in code:
        if not path.exists():
            raise UserError(f"there is no file or folder {path} to ship with the model")
    parts = predictor.config["loss"], predictor.config["model"]
    with tempfile.TemporaryDirectory() as there:
        file, sources = Path(there) / Artifact.MODEL, Path(there) / "code"
        file.write_bytes(model)
        sources.mkdir()
        copy_sources(sources, code)
        package = Package(
            model=file,
            code=sources,
            inputs=list(predictor.preprocessing.schema),
            outputs=outputs(predictor),
            params={} if predictor.decides is None else {"threshold": predictor.decides},
            example=predictor.preprocessing.example,
            requirements=[*requirements(*parts, brought=[path.stem for path in code]), *require],
            trust=trust,
            metadata=_described(predictor),
        )
        return log_model(store, run_id, package, register)


def outputs(predictor: Predictor) -> dict[str, str]:
    """Return MLflow's type of each column of a prediction."""
    said = predictor.predict(predictor.preprocessing.example)
    return {str(name): "string" if name == "label" else "double" for name in said}


def _described(predictor: Predictor) -> dict[str, Any]:
    thresholds = {name: value for name, value in predictor.thresholds.items() if not np.isnan(value)}
    return {
        "lossbench": {
            "classes": list(predictor.task.class_names),
            "positive": predictor.task.class_names[1] if predictor.task.binary else None,
            "columns": predictor.preprocessing.schema,
            "posterior": predictor.kind,
            "thresholds": thresholds,
            "loss": predictor.config["loss"]["_target_"],
            "model": predictor.config["model"]["_target_"],
        }
    }
