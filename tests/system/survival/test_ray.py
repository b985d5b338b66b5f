"""A sweep over Ray, where its launcher is installed: an environment of its own, see docs/deployment.md."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from lossbench.tracking import read
from lossbench.tracking.store.open import open_store

pytestmark = [
    pytest.mark.slow(sample=False),
    pytest.mark.skipif(find_spec("ray") is None, reason="lossbench[ray] is not installed"),
]


def test_a_sweep_over_rays_local_cluster(tmp_path: Path) -> None:
    tiny = ["trainer.max_epochs=2", "data.test_rows=200", "data.negatives=150", "data.positives=30"]
    sweep = ["-m", "hydra/launcher=ray", "+hydra.launcher.ray.init.num_cpus=2", "loss=cross_entropy,focal", "seed=0,1"]
    ended = subprocess.run(
        [sys.executable, "-m", "lossbench", *sweep, *tiny, f"paths.mlruns={tmp_path / 'mlruns'}"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    runs = read.runs(open_store(tmp_path / "mlruns"))
    runs = runs[runs["role"] == "run"]
    assert list(runs["status"]) == ["FINISHED"] * 4
    assert sorted(runs["objective"]) == ["cross_entropy", "cross_entropy", "focal", "focal"]
