"""A comparison in plain words: how it was judged, and what it says."""

from __future__ import annotations

import math

import pandas as pd

from lossbench.comparison.judging import Judged
from lossbench.comparison.verdicts import seeds_needed

_NAMED = 6
_MANY = 1000


def protocol(judged: Judged, baseline: str | None, rope: float | None) -> list[str]:
    """Return what the verdicts rest on: population, test and corrections, region of equivalence, floor."""
    about = judged.population
    lines = [about.sentence]
    if about.test is None:
        return lines
    low, high = judged.n
    size = f"{low}" if low == high else f"{low} to {high}"
    pairs = "pair" if judged.all_pairs == 1 else "pairs"
    comparisons = "comparison" if judged.comparisons == 1 else "comparisons"
    over = [f"{judged.all_pairs} {pairs} for what won"] if judged.all_pairs else []
    over += [f"{judged.comparisons} {comparisons} with {baseline}"] if judged.comparisons else []
    if over:
        # The corrected t has no floor of its own; it is held to the same one, lest four splits decide.
        lines.append(
            f"{about.test.name}{' (approximate)' if about.test.approximate else ''}, n = {size} {about.units}, "
            f"p by Holm over {' and over '.join(over)}; an interval is 95% for its row alone and decides nothing"
        )
    if judged.comparisons:
        lines.append(
            f"equivalent: within +-{rope:g}, by two one-sided tests" if rope
            else "equivalent: only differences that are zero throughout, since this metric has no region of equivalence"
        )  # fmt: skip
    short = [
        f"{seeds_needed(count)} for {what}"
        for count, what in ((judged.comparisons, "better or worse"), (judged.all_pairs, "what won"))
        if count and low < seeds_needed(count)
    ]
    if short:
        lines.append(f"too few {about.units}: {low}, and it takes at least {' and '.join(short)}")
    return lines


def conclusions(table: pd.DataFrame, judged: Judged, metric: str, baseline: str | None) -> list[str]:
    """Return the answer: what won and by how much, what cannot be told apart, what more seeds would settle."""
    if judged.best is None:
        return ["No objective has a value."]
    rows = table[table["role"] == "objective"].set_index("objective")
    if len(rows[rows["mean"].notna()]) == 1:
        return [f"{judged.best} is the only objective with a value: there is nothing to compare."]
    if judged.population.test is None:
        return [f"{judged.best} has the best mean; whether that is more than chance is not judged."]
    return [_won(rows, judged, metric, baseline), _inseparable(rows, judged, baseline), _more(judged)]


def _won(rows: pd.DataFrame, judged: Judged, metric: str, baseline: str | None) -> str:
    best = rows.loc[str(judged.best)].to_dict()
    gap = ""
    if baseline is not None and judged.best != baseline and not math.isnan(best["difference"]):
        interval = "" if math.isnan(best["low"]) else f", 95% interval {best['low']:+.4g} to {best['high']:+.4g}"
        gap = f", {best['difference']:+.4g} to {baseline}{interval} ({best['verdict']})"
    value = f"{metric} {best['mean']:.4g}{gap}"
    won = rows.index[rows["won"]].tolist()
    if len(won) == 1:
        return f"{judged.best} won: {value}."
    first = rows.index[rows["rank"] == 1].tolist()
    leads = f"{judged.best} has the best mean ({value})"
    if len(first) > 1:
        leads = f"{_names(first)} share the best mean ({metric} {best['mean']:.4g})"
    if judged.n[1] < seeds_needed(judged.all_pairs):
        return f"Nothing won yet: {leads}, and so few {judged.population.units} decide nothing."
    return f"What won is a set of {len(won)} that cannot be separated: {_names(won)}; {leads}."


def _inseparable(rows: pd.DataFrame, judged: Judged, baseline: str | None) -> str:
    if not judged.comparisons:
        rest = rows.index[~rows["won"] & rows["mean"].notna()].tolist()
        return f"{_names(rest)} did worse than {judged.best}." if rest else "No objective can be told from the best."
    said = {
        word: rows.index[rows["verdict"] == word].tolist()
        for word in ("not separable", "equivalent", "better", "worse")
    }
    parts = [f"not separable from {baseline}: {_names(said['not separable'])}"] if said["not separable"] else []
    to = "it" if parts else baseline
    parts += [f"equivalent to {to}: {_names(said['equivalent'])}"] if said["equivalent"] else []
    clear = [f"{len(said[word])} {word}" for word in ("better", "worse") if said[word]]
    if not parts:
        return f"Every objective can be told from {baseline}: {', '.join(clear)}."
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}{'; ' + ', '.join(clear) if clear else ''}."


def _more(judged: Judged) -> str:
    units = judged.population.units
    least = seeds_needed(judged.all_pairs)
    if judged.first_two is None:
        return f"More {units} would not change who won, only narrow the intervals."
    pair = f"{judged.best} and {judged.second}"
    low, high = judged.first_two
    if math.isinf(low):
        return f"How many {units} would separate {pair} cannot be said from these: at least {least}."
    if low > _MANY:
        return f"{pair} are so close that more than {_MANY:,} {units} would be needed to separate them."
    if low == high:
        return f"To separate {pair}, about {low:.0f} {units} might do, if the difference seen is the true one."
    top = f"{high:.0f}" if high <= _MANY else f"more than {_MANY:,}"
    return f"To separate {pair}, {low:.0f} to {top} {units} might be needed, if the difference seen is the true one."


def _names(labels: list[str]) -> str:
    shown = labels if len(labels) <= _NAMED + 1 else labels[:_NAMED]
    more = len(labels) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
