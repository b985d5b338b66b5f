"""What a person reads fits the terminal, and names stay text."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import pytest
from rich.cells import cell_len
from rich.console import Console

from lossbench.comparison.leaderboard import Leaderboard, build_leaderboard
from lossbench.comparison.report.render import show, to_markdown

Table = Callable[..., pd.DataFrame]
FAILURES = pd.DataFrame(
    {
        "run_id": ["r1", "r2"],
        "name": ["s3 · mse", "s4 · mse"],
        "overrides": ["loss=mse seed=3", None],
        "status": ["FAILED", "KILLED"],
        "error": ["ValueError: no [bold]loss[/bold] at [/x]", None],
    }
)
LEFT_OUT = [("loss=hinge data=iris", "Hinge needs two classes, got 3")]


@pytest.fixture
def board(runs: Table) -> Leaderboard:
    frame = runs(
        ("cross_entropy", 0, 0.5),
        ("cross_entropy", 1, 0.75),
        ("focal [red]gamma[/red]", 0, 0.625),
        ("focal [red]gamma[/red]", 1, 0.7, "FAILED"),
        ("a very long name · with weighting balanced · and regularizer l1 · l2", 0, 1e-5),
        references={"Bayes": 0.9, "class prior": 0.1},
    )
    return build_leaderboard(frame.assign(**{"metrics.test/f1": 0.5}), "test/auroc", show=["test/f1"])


def printed(board: Leaderboard, width: int, **more: object) -> str:
    console = Console(file=io.StringIO(), width=width, no_color=True, color_system=None)
    show(board, console=console, **more)
    return console.file.getvalue()


def test_single_datasets_stand_beside_each_other(runs: Table) -> None:
    gains = {"mse": 0.1, "focal": 0.0}
    frame = runs(*((name, seed, 0.5 + seed / 100 + gain) for name, gain in gains.items() for seed in range(8)))
    alone = build_leaderboard(frame, "test/auroc", baseline="focal")
    board = replace(alone, by_dataset={"iris": alone, "a [b]": alone})
    text = printed(board, 80)
    assert "on each dataset: + better, - worse, = equivalent to focal" in " ".join(text.split())
    lines = text[text.index("on each dataset") :].splitlines()
    assert any(line.split() == ["objective", "iris", "a", "[b]"] for line in lines)
    assert any(line.split() == ["mse", "0.6350", "+", "0.6350", "+"] for line in lines)
    assert "\\[b\\]" in to_markdown(board)


@pytest.mark.parametrize("width", [40, 80, 100, 200])
def test_every_line_fits(board: Leaderboard, width: int) -> None:
    text = printed(board, width)
    assert all(cell_len(line) <= width for line in text.splitlines())
    for number in ("0.6250", "0.1250", "0.9000"):
        assert number in text
    assert "\x1b" not in text


def test_eighty_columns_hold_the_answer_and_wide_ones_more(board: Leaderboard) -> None:
    narrow, wide = printed(board, 80), printed(board, 240)
    for header in ("rank", "objective", "mean", "verdict", "difference", "failed"):
        assert header in narrow
    for header in ("may be best", "costs at most", "p", "interval", "n", "sd", "best", "worst"):
        assert f" {header} " in wide or f" {header}\n" in wide
    for text in (narrow, wide):
        costs = text[text.index("Cost of a run in seconds") :].splitlines()
        assert costs[1].split() == ["objective", "seconds", "f1"]
        assert {tuple(line.split()[1:]) for line in costs if line.startswith(("Bayes", "cross_entropy"))} == {
            ("–", "0.5000"),
            ("2.0", "0.5000"),
        }
    assert "+0.1250" in narrow
    assert "unfinished" not in wide


def test_names_are_not_markup(board: Leaderboard) -> None:
    text = printed(board, 200, failures=FAILURES, left_out=LEFT_OUT)
    assert "focal [red]gamma[/red]" in text
    assert "FAILED: ValueError: no [bold]loss[/bold] at [/x]" in text


def test_failed_and_left_out_jobs_are_listed(board: Leaderboard) -> None:
    text = printed(board, 80, failures=FAILURES, left_out=LEFT_OUT)
    assert "2 jobs did not finish\n  loss=mse seed=3\n    FAILED: ValueError" in text
    assert "  s4 · mse\n    KILLED: no error recorded" in text
    assert "1 job left out, which is no failure\n  loss=hinge data=iris\n    Hinge needs two classes, got 3" in text


def test_references_have_no_rank(board: Leaderboard) -> None:
    ranks = {line[1]: line[0] for line in map(str.split, printed(board, 200).splitlines()) if len(line) > 5}
    assert (ranks["Bayes"], ranks["cross_entropy"], ranks["class"]) == ("–", "2", "–")
    assert "rows without a rank are references" in printed(board, 200)


def test_markdown_escapes_names_and_cuts_long_lists(runs: Table) -> None:
    board = build_leaderboard(runs(("<b>|focal|</b>_x_", 0, 0.5)), "test/auroc")
    many = pd.concat([FAILURES] * 20, ignore_index=True)
    many["error"] = [f"ValueError: {number}" for number in range(40)]
    text = to_markdown(board, failures=many, left_out=LEFT_OUT)
    assert "&lt;b&gt;\\|focal\\|&lt;/b&gt;\\_x\\_" in text
    assert "<b>" not in text
    assert "- and 20 more\n" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    widths = [line.replace("\\|", "").count("|") for line in rows]
    assert widths == [widths[0]] * 3 + [widths[3]] * 3


def test_an_error_of_several_lines_stays_one_entry(runs: Table) -> None:
    board = build_leaderboard(runs(("focal", 0, 0.5)), "test/auroc")
    failures = FAILURES.assign(error="first\nsecond | line")
    assert "- loss=mse seed=3: FAILED: first second \\| line\n" in to_markdown(board, failures=failures)


def test_jobs_that_ended_for_one_reason_share_an_entry(board: Leaderboard) -> None:
    text = printed(board, 200, failures=FAILURES.assign(status="KILLED", error="no memory"))
    assert "2 jobs did not finish\n  loss=mse seed=3; s4 · mse\n    KILLED: no memory\n" in text
