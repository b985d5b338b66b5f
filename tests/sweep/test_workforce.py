"""Work that a sweep's processes share: begun at once, ended together, and done in its turn where there are none."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lossbench.sweep.workforce import Workforce


class Threads(ThreadPoolExecutor):
    """Stands for the processes."""

    number = 2
    abandoned = False

    def abandon(self) -> None:
        self.abandoned = True


def workforce(workers: Any) -> Workforce:
    launcher: Any = None  # nothing is launched
    return Workforce(launcher, workers)


def test_without_processes_work_is_done_when_it_is_waited_for() -> None:
    done: list[int] = []
    finish = workforce(None).share(done.extend, [1, 2])
    assert done == []
    finish()
    assert done == [1, 2]


def test_every_process_begins_its_share_at_once(tmp_path: Path) -> None:
    def touch(names: list[str]) -> None:
        for name in names:
            (tmp_path / name).touch()

    with Threads(2) as threads:
        finish = workforce(threads).share(touch, ["a", "b", "c"])
        threads.shutdown()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]
        finish()
    assert not threads.abandoned


def test_a_share_that_fails_is_raised_when_no_other_goes_on(tmp_path: Path) -> None:
    def work(names: list[str]) -> None:
        if "a" in names:
            raise ValueError("no a")
        time.sleep(0.3)
        (tmp_path / "b").touch()

    with Threads(2) as threads:
        finish = workforce(threads).share(work, ["a", "b"])
        with pytest.raises(ValueError, match="no a"):
            finish()
        assert (tmp_path / "b").exists()
