"""Files that an earlier version wrote (commit 7eb0245, before the modules moved into rooms) still predict the same."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from lossbench.inference.predictor import Predictor

EARLIER = Path(__file__).with_name("earlier")


@pytest.mark.parametrize(
    ("model", "rows", "predicted"),
    [
        # two classes over a table of numbers, booleans, categories and dates; the posterior by the loss's gradient
        ("model.pt", "churn.csv", "predictions.csv"),
        # three classes, arcface's own output layer and a fitted calibrator
        ("with_a_head.pt", "flowers.csv", "flowers_predicted.csv"),
    ],
)
def test_a_model_file_predicts_what_it_predicted_then(model: str, rows: str, predicted: str) -> None:
    predictor = Predictor.load(EARLIER / model)
    found = predictor.predict(pd.read_csv(EARLIER / rows, dtype={"zone": str}))
    assert_frame_equal(found, pd.read_csv(EARLIER / predicted), atol=1e-9, rtol=0)


PREDICT = """
import sys
from importlib import metadata
from pathlib import Path

if sys.argv[1] == "absent":
    sys.path[:] = [folder for folder in sys.path if not Path(folder, "lossbench", "task.py").exists()]
    # What is not installed has no entry points either, which MLflow would import.
    everyones = metadata.entry_points
    metadata.entry_points = lambda **of: metadata.EntryPoints(
        each for each in everyones(**of) if not each.value.startswith("lossbench")
    )

import pandas as pd
from mlflow.pyfunc import load_model

model = load_model(sys.argv[2])
model.predict(pd.read_csv(sys.argv[3], dtype={"zone": str}).drop(columns="churned")).to_csv(sys.argv[4], index=False)
brought = sys.modules["lossbench.inference.predictor"].__file__.startswith(sys.argv[2])
assert brought == (sys.argv[1] == "absent")
"""


@pytest.mark.parametrize("lossbench", ["installed", "absent"])
def test_an_export_predicts_what_it_predicted_then(lossbench: str, tmp_path: Path) -> None:
    """With the lossbench of today where it is installed, else with the sources that it brought along."""
    exported, predicted = tmp_path / "export", tmp_path / "predicted.csv"
    with zipfile.ZipFile(EARLIER / "export.zip") as archive:
        archive.extractall(exported)
    arguments = [lossbench, exported, EARLIER / "churn.csv", predicted]
    done = subprocess.run([sys.executable, "-c", PREDICT, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert_frame_equal(pd.read_csv(predicted), pd.read_csv(EARLIER / "predictions.csv"), atol=1e-9, rtol=0)
