"""Each figure says one thing with numbers, and is left out where it has nothing to say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from lossbench.comparison.leaderboard import build_leaderboard
from lossbench.comparison.report import page
from lossbench.comparison.report.evidence import Evidence, Names
from lossbench.comparison.report.figures import (
    coordinates,
    critical_difference,
    differences,
    distributions,
    grid,
    ranking,
    ranking_curves,
    regions,
    reliability,
    sparsity,
    style,
    thresholds,
    training,
)
from lossbench.comparison.report.figures.grid import factors

Build = Callable[..., Evidence]
THREE = {"cross_entropy": 2.0, "focal": 2.5, "brier": 1.0}


def test_ranking_draws_each_objective_in_order_and_the_references_that_are_near(evidence: Build) -> None:
    made = evidence({"a$x$": 1.0, "b": 2.0}, seeds=3)
    references = pd.DataFrame(
        {
            "run_id": ["p", "q"], "objective": ["Bayes rule", "class prior"], "role": "reference",
            "status": "FINISHED", "params.seed": 0, "params.data": "rings", "metrics.test/auroc": [0.75, -9.0],
        }
    )  # fmt: skip
    runs = pd.concat([made.runs, references], ignore_index=True)
    picture = ranking.draw(Evidence(runs, build_leaderboard(runs, "test/auroc")))
    axes = picture.figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", r"a\$x\$"]
    means = [container.lines[0].get_xdata()[0] for container in axes.containers]
    assert means == pytest.approx([made.ranked_mean("b"), made.ranked_mean("a$x$")])
    assert [text.get_text() for text in axes.texts] == ["Bayes rule 0.7500"]
    assert picture.message.startswith("b has the best mean test/auroc, 0.70")
    assert "a$x$ the last, 0.60" in picture.message
    assert "Bayes rule reaches 0.7500" in picture.message


def test_ranking_of_single_runs_has_no_interval(evidence: Build) -> None:
    picture = ranking.draw(evidence(THREE, seeds=1))
    assert picture.figure.axes[0].containers == []
    assert "interval" not in picture.message


def test_ranking_of_nothing(evidence: Build) -> None:
    made = evidence(THREE, seeds=1)
    made.runs["metrics.test/auroc"] = float("nan")
    assert ranking.draw(Evidence(made.runs, build_leaderboard(made.runs, "test/auroc"))) is None


def test_paired_differences_are_those_of_the_seeds(evidence: Build) -> None:
    made = evidence(THREE)
    picture = differences.draw(made)
    by_seed = made.jobs.pivot(index="params.seed", columns="objective", values="metrics.test/auroc")
    ticks = picture.figure.axes[0].lines[1].get_xdata()
    np.testing.assert_allclose(sorted(ticks), sorted(by_seed["focal"] - by_seed["cross_entropy"]))
    assert picture.message.startswith("Against cross_entropy, of 2 objectives: 1 better, 1 worse.")
    assert "Within ±0.005 counts as equivalent." in picture.message


def test_without_another_objective_there_are_no_differences(evidence: Build) -> None:
    assert differences.draw(evidence({"cross_entropy": 1.0}, seeds=2)) is None


def test_curves_average_seeds_and_say_their_areas(evidence: Build) -> None:
    made = evidence(THREE)
    picture = ranking_curves.draw_roc(made, "rings")
    first = picture.figure.axes[0].lines[1]
    expected = np.mean([curve.true_rate for curve in made.curves("focal", "rings")], axis=0)
    np.testing.assert_allclose(first.get_ydata(), expected)
    assert picture.message.startswith("Mean AUROC runs from 0.75")
    assert "(focal)" in picture.message
    assert ranking_curves.draw_precision_recall(made, "rings").message.startswith(
        "Mean average precision runs from 0.75"
    )


def test_many_objectives_leave_lines_to_the_best_the_baseline_and_the_last(evidence: Build) -> None:
    made = evidence({**{f"loss{i}": 1 + i / 10 for i in range(10)}, "cross_entropy": 1.35}, seeds=2)
    picture = ranking_curves.draw_roc(made, "rings")
    labels = [line.get_label() for line in picture.figure.axes[0].lines[1:]]
    assert labels == ["loss9", "loss8", "loss7", "loss6", "cross_entropy", "loss0"]
    assert "Shown are 6 of 11 objectives" in picture.message


def test_figures_of_rows_need_rows(evidence: Build) -> None:
    made = evidence(THREE, seeds=2)
    without = Evidence(made.runs, made.leaderboard)
    for draw in (
        ranking_curves.draw_roc, ranking_curves.draw_precision_recall, training.draw, thresholds.draw,
        reliability.draw, regions.draw, distributions.draw,
    ):  # fmt: skip
        assert draw(made, "rings") is not None
        assert draw(without, "rings") is None


def test_what_two_classes_and_two_features_alone_have(evidence: Build) -> None:
    three = evidence(THREE, seeds=2, classes=3, features=4)
    assert thresholds.draw(three, "rings") is None
    assert regions.draw(three, "rings") is None
    assert "true class" in distributions.draw(three, "rings").message
    assert regions.draw(evidence(THREE, seeds=2, classes=3), "rings") is not None


def test_training_stops_where_the_first_run_does(evidence: Build) -> None:
    made = evidence({"focal": 1.0}, seeds=3, epochs=6)
    long = made.history
    made.history = lambda run: long(run).head(4) if run.endswith("1") else long(run)
    picture = training.draw(made, "rings")
    assert picture.figure.axes[0].lines[0].get_xdata().tolist() == [0, 1, 2, 3]
    assert picture.title == "val/auroc over the epochs"
    assert training.draw(evidence({"focal": 1.0}, seeds=2, epochs=1), "rings") is None


def test_decision_regions_name_the_class_and_share_a_scale(evidence: Build) -> None:
    picture = regions.draw(evidence(THREE, seeds=2, names=Names(("out", "in"), ("u", "v"))), "rings")
    images = [axes.images[0] for axes in picture.figure.axes if axes.images]
    assert len(images) == 3
    assert {image.get_clim() for image in images} == {(0, 1)}
    assert "of the plane as in" in picture.message
    assert picture.figure.axes[0].get_ylabel() == "v"


def test_a_grid_needs_two_crossed_factors(evidence: Build) -> None:
    crossed = {
        f"{loss} · {penalty}": {"loss": loss, "regularizer": penalty, "strength": i + 2 * j + 1}
        for i, loss in enumerate(("focal", "brier"))
        for j, penalty in enumerate(("none", "l1", "l2"))
    }
    made = evidence(crossed, seeds=2)
    assert list(factors(made).columns) == ["loss", "regularizer"]
    picture = grid.draw(made)
    assert picture.title == "regularizer x loss"
    assert picture.message.startswith("The best cell of regularizer x loss is l2 with brier, mean test/auroc 1.1")
    assert grid.draw(evidence({"a": {"loss": "a", "strength": 1}, "b": {"loss": "b", "strength": 2}})) is None


def test_a_factor_that_follows_another_says_nothing(evidence: Build) -> None:
    made = evidence(
        {
            "a": {"loss": "a", "loss.gamma": 1.0, "strength": 1},
            "b": {"loss": "b", "loss.gamma": 2.0, "strength": 1},
            "b2": {"loss": "b", "loss.gamma": 2.0, "model.width": 4, "strength": 1},
        },
        seeds=1,
    )
    assert list(factors(made).columns) == ["loss", "model.width"]


def test_parallel_coordinates_need_a_number_with_three_values(evidence: Build) -> None:
    def swept(values: list[Any]) -> Evidence:
        return evidence({f"g{n}": {"loss.gamma": value, "strength": n} for n, value in enumerate(values)}, seeds=1)

    picture = coordinates.draw(swept([0.01, 0.1, 1.0, 10.0, 100.0]))
    assert "the best has loss.gamma 100: mean test/auroc" in picture.message
    assert coordinates.draw(swept([0.1, 1.0, 2.0])) is None
    assert coordinates.draw(swept(["a", "b", "c", "d", "e"])) is None


def test_ranks_over_datasets(evidence: Build) -> None:
    few = critical_difference.draw(evidence(THREE, seeds=1, data=("iris", "wine")))
    assert "2 independent datasets decide nothing: it takes at least 7 for 3 objectives" in few.message
    assert few.message.startswith("focal has the best mean rank, 1 of 3, brier the last, 3.")
    many = evidence(THREE, seeds=1, data=tuple(f"d{n}" for n in range(9)))
    assert "All objectives are separated from each other." in critical_difference.draw(many).message
    assert critical_difference.draw(evidence(THREE, seeds=1)) is None


def test_sparsity_only_where_penalties_vary_and_matter(evidence: Build) -> None:
    varied = {n: {"regularizer": n, "strength": s} for n, s in (("none", 1.0), ("l1", 5.0))}
    assert sparsity.draw(evidence(varied, seeds=2)).message.startswith("l1 has the most weights near zero, 50.0%")
    assert sparsity.draw(evidence(dict.fromkeys(("a", "b"), 2.0), seeds=2)) is None
    alike = {n: {"regularizer": n, "strength": 1.0} for n in ("none", "l1")}
    assert sparsity.draw(evidence(alike, seeds=2)) is None


def test_a_drawing_is_small_svg_with_the_pages_colors(evidence: Build) -> None:
    with style.styled():
        picture = ranking.draw(evidence({"<b>$x$</b>": 1.0, "b": 2.0}, seeds=2))
    drawing = style.svg(picture.figure, "ranking")
    inside = style.in_page(drawing)
    assert "&lt;b&gt;$x$&lt;/b&gt;" in inside
    assert "<b>" not in inside
    assert "var(--ink)" in inside
    assert style.BLUE not in inside
    assert style.BLUE in style.alone(drawing)
    assert style.alone(drawing).count("<rect width") == 1
    assert style.svg(picture.figure, "ranking") == drawing


def outside(figure: Figure) -> list[str]:
    """The texts of a figure that its edge cuts off; ticks beyond the ends of an axis are not drawn."""
    figure.draw_without_rendering()
    ticks = {label for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for label in axis.get_ticklabels()}
    cut = []
    for text in figure.findobj(Text):
        if text in ticks or not text.get_visible() or not text.get_text().strip():
            continue
        box = text.get_window_extent()
        if not (box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1):
            cut.append(text.get_text())
    return cut


@pytest.mark.parametrize("data", [("rings",), ("breast_cancer", "digits", "wine")], ids=["one dataset", "several"])
def test_long_names_are_cut_off_by_no_edge(evidence: Build, data: tuple[str, ...]) -> None:
    made = evidence(
        {
            f"generalized_cross_entropy · elastic_net strength=0.001 q={n}": {
                "loss": f"generalized_cross_entropy_{n % 3}", "regularizer": "none" if n < 3 else "elastic_net_of_mine",
                "loss.gamma": n, "strength": 1 + n / 3,
            }
            for n in range(6)
        },
        seeds=3, data=data, baseline="generalized_cross_entropy · elastic_net strength=0.001 q=2",
    )  # fmt: skip
    with style.styled():
        pictures = [draw(made) for draw in page.OF_ALL] + [draw(made, data[0]) for draw in page.OF_ONE]
        drawn = {picture.name: outside(picture.figure) for picture in pictures if picture is not None}
    assert len(drawn) >= 10
    assert not any(drawn.values()), drawn
