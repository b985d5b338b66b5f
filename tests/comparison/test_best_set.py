"""The set of the best, the bounds of a choice and the words against the baseline never contradict each other."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lossbench.comparison.best_set import BestSet, find_best
from lossbench.comparison.bounds import PairedBounds
from lossbench.comparison.corrected_t import CorrectedT
from lossbench.comparison.effects import Effects, estimate_effects
from lossbench.comparison.sign_flip import SignFlip
from lossbench.comparison.verdicts import PairedTest
from lossbench.comparison.words import Statement, compare_with_baseline

REGION = 0.3


def said(
    table: pd.DataFrame, baseline: str, test: PairedTest, higher_is_better: bool = True, region: float = REGION
) -> tuple[Effects, dict[str, Statement], BestSet]:
    """Return all that is said of a table with a column a label and a row a key; NaN is missing."""
    values = table.rename_axis(columns="label").rename_axis("seed").stack().swaplevel()
    effects = estimate_effects(values, ["seed"])
    bounds = PairedBounds(effects, test, higher_is_better)
    words = compare_with_baseline(effects, bounds, baseline, higher_is_better=higher_is_better, region=region)
    return effects, words, find_best(effects, bounds, higher_is_better=higher_is_better)


def test_the_set_and_the_bounds_are_those_of_a_plain_loop() -> None:
    """As in R: t.test(x, y, paired = TRUE, alternative = "less", conf.level = 1 - .025 / (k - 1))."""
    rng = np.random.default_rng(0)
    effects = np.array([0, 0.2, 0.4, 1.6, 2, 1.6])
    table = pd.DataFrame(rng.normal(size=(12, 1)) + 0.8 * rng.normal(size=(12, 6)) + effects, columns=list("abcdef"))
    _, _, best = said(table, "a", CorrectedT(0.0))
    kept, regret = [], {}
    for i in table:
        upper = []
        kept.append(i)
        for j in table.columns.drop(i):
            one = stats.ttest_rel(table[j], table[i], alternative="less").confidence_interval(1 - 0.025 / 5)
            upper.append(one.high)
            if stats.ttest_rel(table[j], table[i], alternative="greater").pvalue <= 0.025 / 5 and i in kept:
                kept.remove(i)
        regret[i] = max(0.0, *upper)
    assert sorted(best.members) == kept
    assert 1 < len(kept) < 6
    assert best.regret == pytest.approx(regret, abs=1e-9)


def test_words_are_scipys_intervals() -> None:
    rng = np.random.default_rng(1)
    table = pd.DataFrame(
        rng.normal(size=(10, 4)) * 0.1 + np.array([0, 1, -1, 0]), columns=["base", "up", "down", "same"]
    )
    effects, words, _ = said(table, "base", CorrectedT(0.0))
    for label in ("up", "down", "same"):
        theirs = stats.ttest_rel(table[label], table["base"]).confidence_interval(1 - 0.05 / 3)
        assert (words[label].low, words[label].high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
        # Whatever the test, ten differences have no smaller p than signs have.
        p = max(stats.ttest_rel(table[label], table["base"]).pvalue, 2 * 2**-10)
        assert words[label].p == pytest.approx(min(1, 3 * p), abs=1e-9)
        assert words[label].difference == pytest.approx(effects.mean(label) - effects.mean("base"))
    assert {label: one.word for label, one in words.items()} == {
        "base": "baseline", "up": "better", "down": "worse", "same": "equivalent",
    }  # fmt: skip
    _, turned, _ = said(table, "base", CorrectedT(0.0), higher_is_better=False)
    assert [turned[label].word for label in ("up", "down", "same")] == ["worse", "better", "equivalent"]
    assert (turned["up"].low, turned["up"].high) == pytest.approx((words["up"].low, words["up"].high))


def test_better_by_less_than_matters_is_better_with_a_flag() -> None:
    steps = np.arange(9) / 1000
    table = pd.DataFrame({"base": np.zeros(9), "near": 0.01 + steps, "far": 1 + steps})
    _, words, _ = said(table, "base", SignFlip())
    assert (words["near"].word, words["near"].small) == ("better", True)
    assert (words["far"].word, words["far"].small) == ("better", False)


@pytest.mark.parametrize("seeds", [1, 3, 5])
def test_nothing_is_equivalent_below_the_floor(seeds: int) -> None:
    table = pd.DataFrame({"base": np.ones(seeds), "same": np.ones(seeds), "near": np.ones(seeds) - 1e-6})
    _, words, best = said(table, "base", SignFlip())
    assert (words["same"].word, words["near"].word) == ("identical so far", "undecided")
    assert len(best.members) == 3
    assert best.regret["same"] == math.inf


def test_doubt_keeps_from_equivalent_and_says_why() -> None:
    table = pd.DataFrame({"base": np.ones(9), "same": np.ones(9), "near": 1 + np.array([-1, 1] * 4 + [0]) / 1e3})
    values = table.rename_axis(columns="label").rename_axis("seed").stack().swaplevel()
    effects = estimate_effects(values, ["seed"])
    words = compare_with_baseline(
        effects, PairedBounds(effects, SignFlip()), "base", higher_is_better=True, region=REGION,
        doubt=lambda label: "it collapsed" if label != "base" else "",
    )  # fmt: skip
    assert (words["same"].word, words["same"].withheld) == ("identical so far", "it collapsed")
    assert (words["near"].word, words["near"].withheld) == ("undecided", "it collapsed")


def test_a_missing_cell_can_help_nobody() -> None:
    # Risky has the best mean and the best effect, but failed twice.
    rng = np.random.default_rng(0)
    table = pd.DataFrame(0.9 + 0.001 * rng.normal(size=(12, 3)), columns=["base", "worse", "risky"])
    table["worse"] -= 0.1
    table["risky"] += 0.1
    table.loc[[3, 4], "risky"] = math.nan
    effects, words, best = said(table, "base", SignFlip(), region=0.01)
    assert effects.ranking(higher_is_better=True)[0] == (1, "risky")
    assert best.recommended == "base"
    assert best.members == ("risky", "base")
    assert best.excluded_by == {"worse": "base"}
    assert words["risky"].word == "undecided"
    assert words["risky"].low == -math.inf
    assert best.regret["risky"] == math.inf
    # As the baseline it makes nobody worse.
    _, words, _ = said(table, "risky", SignFlip(), region=0.01)
    assert {words["base"].word, words["worse"].word} == {"undecided"}
    # And where it is worse it is so with missing cells as well.
    table["risky"] -= 0.2
    _, words, best = said(table, "base", SignFlip(), region=0.01)
    assert words["risky"].word == "worse"
    assert "risky" not in best.members


numbers = st.one_of(st.integers(-2, 2).map(float), st.floats(-1, 1).map(lambda x: round(x, 3)), st.none())


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    labels, seeds = draw(st.integers(2, 5)), draw(st.integers(1, 11))
    cells = [[draw(numbers) for _ in range(labels)] for _ in range(seeds)]
    table = pd.DataFrame(np.array(cells, dtype=float), columns=[f"l{k}" for k in range(labels)])
    table += draw(st.lists(st.sampled_from([-3.0, 0.0, 0.0, 3.0]), min_size=labels, max_size=labels))
    table["l0"] = table["l0"].fillna(0.5)
    if draw(st.booleans()):  # mostly complete tables are decided
        table = table.fillna(0.25)
    return table


@settings(derandomize=True, deadline=None, max_examples=100)
@given(tables(), st.booleans(), st.sampled_from([SignFlip(), CorrectedT(0.25)]))
def test_statements_do_not_contradict_each_other(table: pd.DataFrame, higher: bool, test: PairedTest) -> None:
    effects, words, best = said(table, "l0", test, higher)
    sign = 1 if higher else -1
    tail = 0.05 / max(len(words) - 1, 1) / 2
    bounds = PairedBounds(effects, test, higher)
    by_baseline = {label for label in words if label != "l0" and bounds.p("l0", label) <= tail}
    assert by_baseline <= set(best.excluded_by)
    for label, one in words.items():
        if label == "l0":
            continue
        assert one.low <= one.high
        separated = one.low > 0 or one.high < 0
        assert separated == (one.word in ("better", "worse"))
        assert separated == (one.p <= 0.05)
        if one.word == "equivalent":
            assert -REGION <= one.low <= 0 <= one.high <= REGION
            assert effects.is_complete(label)
        if separated:
            assert (one.word == "better") == (sign * one.difference > 0)
        # The baseline leaves out what is worse, and is left out by what is better; nobody else has to do with it.
        assert (one.word == "worse") == (label in by_baseline)
        if one.word == "better":
            assert "l0" not in best.members
        if "l0" in best.members:
            assert one.word != "better"
        if not math.isnan(one.difference):
            assert one.low - 1e-6 <= one.difference <= one.high + 1e-6
    ranked = [label for _, label in effects.ranking(higher)]
    gains = [sign * effects.mean(label) for label in ranked]
    assert all(a >= b - 1e-9 for a, b in itertools.pairwise(gains))
    assert best.members == tuple(label for label in ranked if label not in best.excluded_by)
    complete = [label for label in ranked if effects.is_complete(label)]
    assert best.recommended == (complete[0] if complete else None)
    assert best.members
    if best.recommended is not None:
        assert best.recommended in best.members
        assert words[best.recommended].word != "worse"
        assert best.members != tuple(label for label in best.members if not effects.is_complete(label))
    for label, by in best.excluded_by.items():
        assert effects.is_complete(by)
        assert sign * (effects.mean(by) - effects.mean(label)) > 0
        assert best.regret[label] > 0
    assert all(most >= 0 for most in best.regret.values())


@settings(derandomize=True, deadline=None, max_examples=40)
@given(tables(), st.booleans())
def test_names_order_sign_and_origin_of_the_scale_do_not_matter(table: pd.DataFrame, higher: bool) -> None:
    _, words, best = said(table, "l0", SignFlip(), higher)
    names = {label: f"x{9 - int(label[1:])}" for label in table}
    changed = -(table.iloc[::-1].rename(columns=names)) + 4.0
    _, other_words, other_best = said(changed, names["l0"], SignFlip(), not higher)
    for label, one in words.items():
        other = other_words[names[label]]
        assert (other.word, other.n, other.small) == (one.word, one.n, one.small)
        assert other.difference == pytest.approx(-one.difference, abs=1e-9, nan_ok=True)
        assert (other.low, other.high) == pytest.approx((-one.high, -one.low), abs=1e-6)
    assert set(other_best.members) == {names[label] for label in best.members}
    assert other_best.regret == pytest.approx({names[label]: most for label, most in best.regret.items()}, abs=1e-6)
