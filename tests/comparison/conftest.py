"""Runs as `tracking.read.runs` returns them, written down by hand."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

Table = Callable[..., pd.DataFrame]


@pytest.fixture
def runs() -> Table:
    """Build runs from (objective, seed, value) or (objective, seed, value, status), and reference rows."""

    def build(*rows: tuple, references: dict[str, float] | None = None) -> pd.DataFrame:  # type: ignore[type-arg]
        jobs = [
            {
                "objective": objective,
                "role": "run",
                "status": status[0] if status else "FINISHED",
                "params.seed": seed,
                "params.loss": objective.split(" · ")[0],
                "metrics.test/auroc": value,
            }
            for objective, seed, value, *status in rows
        ]
        jobs += [
            {
                "objective": name,
                "role": "reference",
                "status": "FINISHED",
                "params.seed": 0,
                "metrics.test/auroc": value,
            }
            for name, value in (references or {}).items()
        ]
        frame = pd.DataFrame(jobs)
        return frame.assign(
            run_id=[f"r{n}" for n in range(len(frame))], name="s", seconds=2.0, overrides=None, error=None
        )

    return build
