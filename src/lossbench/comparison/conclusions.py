"""A comparison in plain words: what to do, what is unsure, and what would settle it; and how it was judged."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lossbench.comparison.judging import Judgement
from lossbench.comparison.planning import least_seeds
from lossbench.comparison.verdicts import ALPHA
from lossbench.comparison.words import Statement

_NAMED = 6
_MANY = 1000


def protocol(judgement: Judgement, metric: str) -> list[str]:
    """Return what the statements rest on: population, test, region of equivalence and floor."""
    about = judgement.population
    lines = [about.sentence]
    if about.test is None or not judgement.comparisons:
        return lines
    low, high = judgement.n
    if judgement.baseline is not None:
        size = f"{low}" if low == high else f"{low} to {high}"
        lines.append(
            f"{about.test.name}{' (approximate)' if about.test.approximate else ''}, n = {size} {about.units}; the "
            f"intervals of the differences to {judgement.baseline} ({judgement.comparisons}) hold at once with 95%, "
            "and the words follow from them (better and worse: without 0)"
        )
    lines.append(
        "may be best: the best is among these with 95%; costs at most: what choosing a row costs, all at once with 95%"
    )
    lines.append(judgement.region.sentence(metric))
    least = least_seeds(ALPHA / judgement.comparisons)
    if judgement.baseline is not None and low < least:
        lines.append(f"too few {about.units}: {low}, and fewer than {least} decide nothing")
    return lines


def conclusions(judgement: Judgement | None, metric: str) -> list[str]:
    """Return the answer: what to do, what failed, what is unsure, what would settle it."""
    if judgement is None:
        return ["No objective has a value."]
    order = judgement.order
    if len(order) == 1:
        return [f"{order[0]} is the only objective with a value: there is nothing to compare."]
    if judgement.best is None:
        lines = [f"{order[0]} has the best mean; whether that is more than chance is not judged."]
        return [*lines, *_failures(judgement)]
    return [
        _what_to_do(judgement, metric),
        *_failures(judgement),
        *_unsure(judgement),
        *_would_settle(judgement, metric),
    ]


def _what_to_do(judgement: Judgement, metric: str) -> str:
    best = judgement.best
    assert best is not None
    chosen = best.recommended
    if chosen is None:
        return f"Nothing can be recommended: every objective lacks runs that another has ({_missing(judgement)})."
    others = judgement.comparisons
    regret = best.regret[chosen]
    if math.isinf(regret):
        if all(one.word in ("identical so far", "baseline") for one in judgement.statements.values()):
            return f"Nothing is decided yet: all objectives have the same {metric} so far."
        return (
            f"Nothing is decided yet: {chosen} has the best mean ({metric} {judgement.effects.mean(chosen):.4g}), but "
            f"so few {judgement.population.units} decide nothing."
        )
    left = [label for label in judgement.order if label in best.excluded_by]
    if len(left) == others:
        return f"Train with {chosen}: {'the other is' if others == 1 else f'all {others} others are'} worse (95%)."
    worse = f"; {_names(left)} {'is' if len(left) == 1 else 'are'} not the best" if left else ""
    none = (
        f"{_names([label for label in judgement.order if label != chosen])} is not"
        if others == 1
        else f"None of the other {others} is"
    )
    return f"Train with {chosen}. {none} better by more than {regret:.2g} {metric} (95%){worse}."


def _failures(judgement: Judgement) -> list[str]:
    lines, effects = [], judgement.effects
    for label in [label for label in judgement.order if not effects.is_complete(label)][:_NAMED]:
        failed = judgement.lost.get(label, 0)
        lines.append(
            f"{label} lacks {len(effects.missing(label))} of {len(effects.keys)} runs"
            f"{f' ({failed} failed)' if failed else ''}, so it can neither lead nor be called better."
        )
    none = {label: n for label, n in judgement.lost.items() if label not in effects.position}
    if none:
        lines.append(f"Without any value: {_names([f'{label} ({n} failed)' for label, n in none.items()])}.")
    collapsed = [
        f"{label} ({one.count - judgement.lost.get(label, 0)} of {one.n})"
        for label, one in judgement.collapses.items()
        if one.count > judgement.lost.get(label, 0)
    ]
    if collapsed:
        lines.append(f"Far worse than usual on some {judgement.population.units}: {_names(collapsed)}.")
    lines += [f"{label} is {line}." for label, line in judgement.disagreements().items()]
    return lines


def _unsure(judgement: Judgement) -> list[str]:
    best, lines = judgement.best, []
    assert best is not None
    members = best.members
    if 1 < len(members) < len(judgement.order):
        lines.append(f"The best is among {len(members)} (95%): {_names(members)}.")
    elif len(members) > 1:
        lines.append(f"Any of the {len(members)} may be the best.")
    if judgement.baseline is None:
        return lines
    compared = [(label, judgement.statements[label]) for label in judgement.order if label != judgement.baseline]
    parts = [
        f"{word}: {_names([_named(label, one) for label, one in compared if one.word == word])}"
        for word in ("better", "worse", "equivalent", "identical so far", "undecided")
        if any(one.word == word for _, one in compared)
    ]
    lines.append(f"Compared with {judgement.baseline}: {'; '.join(parts)}.")
    return lines


def _named(label: str, one: Statement) -> str:
    return f"{label} (by less than matters)" if one.small else label


def _would_settle(judgement: Judgement, metric: str) -> list[str]:
    """Return how many seeds would do, from the region and the spread, never from the difference seen."""
    best = judgement.best
    assert best is not None
    open_words = {"undecided", "identical so far"}
    undecided = any(one.word in open_words for one in judgement.statements.values())
    if len(best.members) == 1 and not undecided:
        return []
    units, half = judgement.population.units, judgement.region.half
    low, _ = judgement.n
    if judgement.baseline is None or math.isnan(judgement.spread):
        return []
    if not half:
        now = judgement.visible(low)
        return [f"With {low} {units}, differences of {now:.2g} {metric} show."] if math.isfinite(now) else []
    needed = judgement.seeds_to_see(half)
    now = judgement.visible(low)
    seen = f"With {low} {units}, " + (f"differences of {now:.2g} show" if math.isfinite(now) else "no difference shows")
    if needed <= low:
        return []
    if math.isinf(needed) or needed > _MANY:
        much = "no number of them shows" if math.isinf(needed) else f"more than {_MANY:,} would be needed to show"
        return [f"{seen}; {much} one of {half:.2g} {metric}, which matters."]
    if units != "seeds":
        return [f"{seen}; {needed:.0f} would show one of {half:.2g} {metric}, which matters."]
    return [
        f"{seen}; {needed:.0f} would show one of {half:.2g} {metric}, which matters: repeat the command with "
        f"'seed=range({needed:.0f})'."
    ]


def _missing(judgement: Judgement) -> str:
    effects = judgement.effects
    return _names([f"{label} {len(effects.missing(label))} of {len(effects.keys)}" for label in judgement.order])


def _names(labels: Sequence[str]) -> str:
    shown = labels if len(labels) <= _NAMED + 1 else labels[:_NAMED]
    more = len(labels) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
