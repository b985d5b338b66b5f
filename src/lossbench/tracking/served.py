"""What MLflow runs where an exported model is loaded: the model beside it, read and asked.

MLflow executes this file (models from code), so no pickle is involved. It has the sources that it needs beside it,
as the artifact ``code``, and uses them where lossbench is not installed.
"""

from __future__ import annotations

import sys
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class Served(PythonModel):
    """Labels, probabilities and scores of raw columns, as :meth:`lossbench.inference.predictor.Predictor.predict`."""

    def load_context(self, context: PythonModelContext) -> None:
        sys.path.append(context.artifacts["code"])
        from lossbench.inference.predictor import Predictor

        self.predictor = Predictor.load(context.artifacts["model"], trust=bool(context.model_config["trust"]))

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        return self.predictor.predict(model_input, (params or {}).get("threshold"))


set_model(Served())
