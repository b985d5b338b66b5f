"""docs/catalogue.md and its pictures are what the code says now: else run scripts/catalogue."""

from __future__ import annotations

import doctest
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"
STALE = "docs/catalogue is not what the code says: run scripts/catalogue"


@pytest.fixture(scope="module", autouse=True)
def _tools_are_importable():
    sys.path.insert(0, str(PROJECT / "tools"))
    yield
    sys.path.remove(str(PROJECT / "tools"))


@pytest.fixture(scope="module")
def made():
    from catalogue.build import build_catalogue

    return build_catalogue()


def test_page_is_what_the_code_says(made):
    assert made.page.splitlines() == (DOCS / "catalogue.md").read_text().splitlines(), STALE


def test_every_loss_has_its_picture_and_no_other_is_left(made):
    losses = {path.stem for path in (PROJECT / "conf" / "loss").glob("*.yaml")}
    assert {path.stem for path in (DOCS / "catalogue").glob("*.svg")} == losses == set(made.drawn), STALE


def test_pictures_show_what_the_code_computes(made):
    from catalogue.pictures import plotted

    for name, curves in made.drawn.items():
        committed = plotted((DOCS / "catalogue" / f"{name}.svg").read_text()).arrays()
        for part, values in curves.arrays().items():
            # both are rounded to four decimals
            np.testing.assert_allclose(committed[part], values, rtol=1e-6, atol=1.5e-4, err_msg=f"{name}: {STALE}")


def test_curves_are_hand_values(made):
    focal, pairs, aucm = (made.drawn[name] for name in ("focal", "pairwise_auc", "aucm"))
    at = focal.score.index(0.0)
    log2 = float(np.log(2))
    assert focal.positive[at] == pytest.approx(log2 / 4, abs=1e-4)
    # d/ds of (1 - p)^2 (-log p) at p = 1/2: p' (-2 (1 - p) (-log p) - (1 - p)^2 / p) = -(log 2 + .5) / 4
    assert focal.positive_slope[at] == pytest.approx(-(log2 + 0.5) / 4, abs=1e-4)
    # squared hinges of d = 1-(-1), 1-.5, -.5-(-1), -.5-.5, 0-(-1), 0-.5
    assert pairs.positive[at] == pytest.approx((0 + 0.25 + 0.25 + 4 + 0 + 2.25) / 6, abs=1e-4)
    # with a and b at the means of h and alpha at margin less their distance, the batch of four is at rest
    high, low = np.array([1, -0.5, 0]), np.array([-1, 0.5])
    h = [1 / (1 + np.exp(-scores)) for scores in (high, low)]
    a, b = h[0][:2].mean(), h[1].mean()
    alpha = 1 - (a - b)
    value = ((h[0] - a) ** 2).mean() + ((h[1] - b) ** 2).mean()
    value += 2 * alpha * (1 + h[1].mean() - h[0].mean()) - alpha**2
    assert aucm.positive[at] == pytest.approx(value, abs=1e-4)


def test_slopes_are_those_of_the_values(made):
    for name, curves in made.drawn.items():
        arrays = curves.arrays()
        for end in ("positive", "negative"):
            rise = np.diff(arrays[end])
            slope = arrays[f"{end}_slope"]
            steps = np.diff(arrays["score"])
            # where the slope is nearly the same at both ends, the value rises by it
            even = np.abs(np.diff(slope)) < 0.02
            np.testing.assert_allclose(
                rise[even], (steps * (slope[1:] + slope[:-1]) / 2)[even], atol=0.02 * steps[0] + 2e-4, err_msg=name
            )


def test_equal_curves_give_equal_bytes_that_tell_their_numbers(made):
    from catalogue.pictures import plotted, svg

    curves = made.drawn["focal"]
    first = svg("focal", curves, pointwise=True)
    assert first == svg("focal", curves, pointwise=True)
    assert plotted(first) == curves
    assert "date" not in first


def test_what_does_not_stack_is_short_and_has_reasons(made):
    from catalogue.page import not_stacking

    reasons = not_stacking(made.losses)
    assert set(reasons) == {entry.name for entry in made.losses if entry.part.stackable == "no"}
    assert len(reasons) <= 4
    assert all(reasons.values())
    mute = [replace(entry, doc=replace(entry.doc, conventions=())) for entry in made.losses]
    with pytest.raises(ValueError, match="adaptive_log_softmax does not stack and its docstring does not say why"):
        not_stacking(mute)


def test_a_loss_says_when_to_use_it(made):
    from catalogue.page import page

    mute = replace(made.losses[0], doc=replace(made.losses[0].doc, use=""))
    with pytest.raises(ValueError, match=f"{mute.name} needs a sentence that begins with 'Use it'"):
        page([mute], made.drawn, [], [])


def adapted():
    """Return a distance.

    Per row d < 1, d = a * b. It has
    a limit.

    Use it never.

    Source: Nobody, https://arxiv.org/abs/1.

    Parameters
    ----------
    alpha, beta
        > 0.

    Notes
    -----
    Other
        Per row 2 d.

        Use it once.
    """


def test_docstring_is_taken_apart():
    from catalogue.docstrings import parse

    doc = parse(adapted)
    assert doc.summary == "Return a distance."
    assert doc.formula == "Per row d < 1, d = a * b."
    assert doc.conventions == ("It has a limit.",)
    assert doc.use == "Use it never."
    assert doc.source == "Nobody, https://arxiv.org/abs/1."
    assert doc.parameters == {"alpha, beta": "> 0."}
    assert (doc.notes["Other"].formula, doc.notes["Other"].use) == ("Per row 2 d.", "Use it once.")


def test_examples_of_the_generator():
    from catalogue import docstrings, markdown

    for module in (docstrings, markdown):
        found = doctest.testmod(module)
        assert found.attempted
        assert not found.failed
