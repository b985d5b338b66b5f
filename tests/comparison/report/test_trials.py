"""What leaderboard and report say of a tuning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from lossbench.comparison.leaderboard import build_leaderboard
from lossbench.comparison.report.budgets import Tuning, as_overrides, join_tunings, with_budgets
from lossbench.comparison.report.evidence import Evidence
from lossbench.comparison.report.figures import trials
from lossbench.comparison.report.page import About, build_page
from lossbench.comparison.report.render import cells, to_markdown

RATE = "optimizer.lr"


def one(objective: str, values: list[float | None], **more: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    finished = [value for value in values if value is not None]
    best = max(finished)
    entry = {
        "objective": objective,
        "finished": len(finished),
        "failed": len(values) - len(finished),
        "default": values[0],
        "best": best,
        "best_trial": values.index(best),
        "setting": {RATE: 0.0213, "loss.gamma": 1.5},
        "importances": {RATE: 0.75, "loss.gamma": 0.25},
        "confirmed": [],
        **more,
    }
    rows = [
        {"objective": objective, "trial": n, "state": "failed" if value is None else "finished", "value": value}
        for n, value in enumerate(values)
    ]
    return entry, rows


def tuning(*objectives: tuple[dict[str, Any], list[dict[str, Any]]], seeds: tuple[int, ...] = (100, 101)) -> Tuning:
    document = {
        "metric": "val/auroc",
        "direction": "max",
        "seeds": list(seeds),
        "further_seeds": [],
        "confirm": 0,
        "objectives": [entry for entry, _ in objectives],
    }
    return Tuning.read(document, pd.DataFrame([row for _, rows in objectives for row in rows]))


@pytest.fixture
def tuned() -> Tuning:
    return tuning(one("cross_entropy", [0.7, 0.9, 0.8]), one("focal", [0.8, None, 0.6, 0.75]))


def test_notes_tell_the_budget_the_seeds_and_the_failures(tuned: Tuning) -> None:
    budget, failed = tuned.notes
    assert "3 finished trials for each objective" in budget
    assert "mean val/auroc over the seeds 100 to 101, which no run compared here has" in budget
    assert failed == "failed trials, replaced by others: focal 1"
    (single,) = tuning(one("a", [0.5, 0.6]), seeds=(7,)).notes
    assert "by val/auroc over seed 7," in single
    lost = tuning(one("a", [0.5, 0.6]), one("b", [None, 0.1], best=None, setting={}, importances={}))
    assert lost.notes[-1] == "given up, since too many trials failed: b"
    assert "1 to 2 finished trials" in lost.notes[0]


def test_settings_can_be_typed_again(tuned: Tuning) -> None:
    values = "optimizer.lr=0.0213 loss.gamma=1.5"
    first, second = tuned.settings
    assert first == ("cross_entropy", f"{values}  (val/auroc 0.9000 under 2 tuning seeds, the default 0.7000)")
    assert second == ("focal", f"{values}  (the default, as none was better: val/auroc 0.8000 under 2 tuning seeds)")
    assert as_overrides({"a": None, "b": True, "c": 3, "d": "x"}) == "a=null b=true c=3 d=x"


def test_a_setting_says_how_it_did_on_further_seeds() -> None:
    scores = [{"trial": 0, "value": 0.71, "p": None}, {"trial": 1, "value": 0.85, "p": 0.01}]
    made = tuning(
        one("a", [0.7, 0.9], confirmed=scores),
        one("b", [0.7, 0.9], confirmed=scores, best_trial=0),
        one("c", [None, 0.9], confirmed=scores[1:]),
    )
    made = Tuning(made.metric, made.direction, made.seeds, made.objectives, made.trials, range(200, 212), 5)
    found = {name: text.partition("  ")[2] for name, text in made.settings}
    assert found == {
        "a": "(val/auroc 0.8500 under 12 further seeds, the default 0.7100)",
        "b": "(the default, as none was better: val/auroc 0.7100 under 12 further seeds)",
        "c": "(val/auroc 0.8500 under 12 further seeds, the default failed)",
    }
    assert "the best 5 and the default were scored again under 12 further seeds (200 to 211)" in made.notes[1]


def test_a_leaderboard_shows_the_budget_of_each_objective(runs: Callable[..., pd.DataFrame], tuned: Tuning) -> None:
    rows = [(name, seed, value) for name, value in (("cross_entropy", 0.9), ("focal", 0.8)) for seed in range(3)]
    frame = runs(*rows, references={"Bayes rule": 0.95})
    untuned = build_leaderboard(frame, "test/auroc")
    assert "trials" not in cells(untuned)
    board = with_budgets(untuned, tuned, {})
    assert cells(board)["trials"] == ["", "3", "3 + 1 failed"]
    assert "trials" not in untuned.table
    assert board.notes == tuple(tuned.notes)
    text = to_markdown(board, settings=tuned.settings)
    assert "Settings that tuning found" in text


def test_budgets_of_one_loss_on_several_data_add_up(runs: Callable[..., pd.DataFrame]) -> None:
    both = tuning(one("focal · iris", [0.5, 0.6]), one("focal · wine", [0.5, None, 0.7]))
    board = build_leaderboard(runs(("focal", 0, 0.5)), "test/auroc")
    board = with_budgets(board, both, {"focal · iris": "focal", "focal · wine": "focal"})
    assert board.table[["trials", "failed_trials"]].to_numpy().tolist() == [[4, 1]]


def test_several_sweeps_are_one(tuned: Tuning) -> None:
    other = tuning(one("brier", [0.5, 0.6]), seeds=(200,))
    both = join_tunings([tuned, other])
    assert both is not None
    assert both.seeds == [100, 101, 200]
    assert list(both.objectives["objective"]) == ["cross_entropy", "focal", "brier"]
    assert join_tunings([]) is None


def test_history_draws_trials_best_so_far_and_default(evidence: Callable[..., Evidence], tuned: Tuning) -> None:
    made = evidence({"cross_entropy": 2.0, "focal": 2.5}, seeds=2)
    assert trials.draw_history(made) is None
    assert trials.draw_importances(made) is None
    made.tuning = tuned
    picture = trials.draw_history(made)
    assert picture is not None
    first, second = picture.figure.axes
    dots, best, default = first.lines
    assert list(dots.get_ydata()) == [0.7, 0.9, 0.8]
    assert list(best.get_ydata()) == [0.7, 0.9, 0.9]
    assert list(default.get_ydata()) == [0.7, 0.7]
    assert list(second.lines[0].get_xdata()) == [0, 2, 3]  # the failed one is no dot
    assert "gained most for cross_entropy (0.7000 to 0.9000) and least for focal" in picture.message


def test_importances_part_the_optimizers_from_the_objectives_own(
    evidence: Callable[..., Evidence], tuned: Tuning
) -> None:
    made = evidence({"cross_entropy": 2.0, "focal": 2.5}, seeds=2)
    made.tuning = tuned
    picture = trials.draw_importances(made)
    assert picture is not None
    assert [patch.get_width() for patch in picture.figure.axes[0].patches[:3]] == [0.75, 0.0, 0.25]
    assert "75% to 75%" in picture.message
    assert "loss.gamma" in picture.message
    page = build_page(made, About("tuned"))
    assert 'id="tuning"' in page.html
    assert "loss.gamma=1.5" in page.html
    assert {"tuning_history", "tuning_importances"} <= {drawn.name for drawn in page.pictures}


def test_where_lower_is_better_the_best_so_far_falls(evidence: Callable[..., Evidence]) -> None:
    made = evidence({"cross_entropy": 2.0}, seeds=2)
    entry, rows = one("cross_entropy", [0.7, 0.9, 0.5])
    document = {"metric": "val/log_loss", "direction": "min", "seeds": [1], "further_seeds": [], "confirm": 0,
                "objectives": [{**entry, "best": 0.5}]}  # fmt: skip
    made.tuning = Tuning.read(document, pd.DataFrame(rows))
    picture = trials.draw_history(made)
    assert picture is not None
    assert list(picture.figure.axes[0].lines[1].get_ydata()) == [0.7, 0.7, 0.5]
