"""What a config names but does not hold: which files are watched, and which have changed."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from lossbench.config import digests


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "watched_helper.py").write_text("def scale(x): return x\n")
    (tmp_path / "watched_loss.py").write_text("from watched_helper import scale\n\ndef loss(x, y): return scale(x)\n")
    (tmp_path / "table.csv").write_text("x,y\n1,0\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("watched_helper", "watched_loss"):  # another test has them from a folder of its own
        monkeypatch.delitem(sys.modules, name, raising=False)
    importlib.import_module("watched_loss")
    return tmp_path


@pytest.mark.parametrize("changing", ["table.csv", "watched_loss.py", "watched_helper.py"])
def test_a_table_and_modules_of_ones_own_are_watched(folder: Path, changing: str) -> None:
    config = {
        "data": {"_target_": "lossbench.data.table.Table", "path": "table.csv", "target": "y"},
        "loss": {"_target_": "hydra.utils.get_method", "path": "watched_loss.loss"},
    }
    before = digests.watched([config, config])
    assert {Path(name).name for name in before} == {"table.csv", "watched_loss.py", "watched_helper.py"}
    assert digests.changed(before) == []
    identity = digests.job_identity(config)
    with (folder / changing).open("a") as file:
        file.write("\n")
    assert [Path(name).name for name in digests.changed(before)] == [changing]
    assert digests.job_identity(config) != identity
    (folder / changing).unlink()
    assert [Path(name).name for name in digests.changed(before)] == [changing]
