from __future__ import annotations

import pandas as pd
import pytest

from lossbench.comparison.figures import png, ranking
from lossbench.comparison.leaderboard import leaderboard


@pytest.fixture
def runs() -> pd.DataFrame:
    rows = [
        {
            "objective": name,
            "role": "run",
            "status": "FINISHED",
            "params.seed": seed,
            "metrics.test/auroc": value + seed / 100,
        }
        for name, value in (("a$x$", 0.8), ("b", 0.9))
        for seed in range(3)
    ]
    rows.append(
        {
            "objective": "Bayes rule",
            "role": "reference",
            "status": "FINISHED",
            "params.seed": 0,
            "metrics.test/auroc": 0.95,
        }
    )
    rows.append(
        {
            "objective": "class prior",
            "role": "reference",
            "status": "FINISHED",
            "params.seed": 0,
            "metrics.test/auroc": -9.0,
        }
    )
    return pd.DataFrame(rows).assign(run_id=[str(i) for i in range(8)], seconds=1.0)


def test_ranking_draws_each_objective_in_order_and_the_references_that_are_near(runs: pd.DataFrame) -> None:
    figure = ranking(runs, leaderboard(runs, "test/auroc"))
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", r"a\$x\$"]
    means = [container.lines[0].get_xdata()[0] for container in axes.containers]
    assert means == pytest.approx([0.91, 0.81])
    assert [text.get_text() for text in axes.texts] == ["Bayes rule 0.9500"]
    assert png(figure).startswith(b"\x89PNG")


def test_ranking_of_single_runs_has_no_interval(runs: pd.DataFrame) -> None:
    single = runs[(runs["params.seed"] == 0) & (runs["role"] == "run")]
    assert ranking(single, leaderboard(single, "test/auroc")).axes[0].containers == []
