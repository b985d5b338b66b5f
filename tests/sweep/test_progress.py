"""The bar of a sweep."""

from __future__ import annotations

from pathlib import Path

from lossbench.sweep.progress import FILE, tick


def test_a_tick_that_cannot_be_written_costs_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        tick(tmp_path)
    assert (tmp_path / FILE).read_bytes() == b".."
    tick(tmp_path / "gone")
