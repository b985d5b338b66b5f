"""What the mutation check found, for a terminal and as docs/mutants.md."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable
from typing import Any

from reasons import REASONS

OUTCOMES = ("laws", "endless", "other tests", "SURVIVED", "same", "stillborn")
WANTED = 0.95
KINDS = {
    "sign": "a sign turned around, a sum made a difference",
    "factor": "a factor, denominator or exponent left out",
    "detached": "a term cut off from the gradient",
    "axis": "a mean or sum over the wrong axis, or one for the other",
    "careless": "a logarithm of a rounded probability in place of its stable form",
}


def kept(outcomes: Counter[tuple[str, str]]) -> tuple[int, int]:
    """Return how many mutants the laws killed, and of how many."""
    count: Counter[str] = Counter()
    for (_, outcome), number in outcomes.items():
        count[outcome] += number
    killed = count["laws"] + count["endless"]
    return killed, killed + count["other tests"] + count["SURVIVED"]


def verdict(outcomes: Counter[tuple[str, str]]) -> str:
    killed, living = kept(outcomes)
    return f"{killed} of {living} killed by the laws ({killed / max(living, 1):.1%})"


def _reason(mutant: Any) -> str:
    return REASONS.get(mutant.name, "NO REASON GIVEN")


def table(outcomes: Counter[tuple[str, str]], missed: Iterable[tuple[Any, str]]) -> str:
    """Return the table and what the laws missed, as text."""
    lines = [f"{'mistake':<10}" + "".join(f"{outcome:>12}" for outcome in OUTCOMES)]
    lines += [
        f"{kind:<10}" + "".join(f"{outcomes[kind, outcome]:>12}" for outcome in OUTCOMES)
        for kind in sorted({kind for kind, _ in outcomes})
    ]
    lines += ["", verdict(outcomes), "same: values and slopes stay as they are; stillborn: no program; neither counts"]
    for mutant, outcome in missed:
        lines += [f"missed by the laws ({outcome}): {mutant.name}", f"    {_reason(mutant)}"]
    return "\n".join(lines)


def _markdown(first: str, rows: Iterable[str], counts: Counter[tuple[str, str]]) -> str:
    lines = [f"| {first} | {' | '.join(OUTCOMES)} |", "|---|" + "---:|" * len(OUTCOMES)]
    lines += [f"| {row} | {' | '.join(str(counts[row, outcome]) for outcome in OUTCOMES)} |" for row in rows]
    return "\n".join(lines)


def page(
    outcomes: Counter[tuple[str, str]], modules: Counter[tuple[str, str]], missed: Iterable[tuple[Any, str]]
) -> str:
    """Return docs/mutants.md."""
    listed = [
        f"- `{mutant.place}` ({mutant.kind}): `{mutant.before}` became `{mutant.after}`. "
        f"{'Other tests notice. ' if outcome == 'other tests' else ''}{_reason(mutant)}"
        for mutant, outcome in missed
    ]
    parts = [
        "# Do the laws notice a broken loss?",
        _wrapped(
            "Every computing line of every loss, link and target is broken in small ways, one at a time, in memory, "
            "and the laws under `tests/laws` are run on it:"
        ),
        "```bash\nscripts/mutants --page     # writes this page\n```",
        f"**{verdict(outcomes)}**; the rule is {WANTED:.0%}.",
        _wrapped(
            "What counts as a law: what every YAML under `conf/loss` obeys by the facts that it states (shapes, rows, "
            "slopes, finite values, renamed classes, stacking, a round trip, its link, its posterior) and the value "
            "that its docstring shows; and, as tables of named losses, its relatives (`test_relatives.py`: what it "
            "equals, written with other losses) and its limits (`test_limits.py`: the metric that it softens, a "
            "saddle, known features). The references in NumPy under `tests/objective` are no laws: they are asked only "
            "about what the laws have missed."
        ),
        "\n".join(f"- *{kind}*: {meaning}" for kind, meaning in KINDS.items()),
        _wrapped(
            "*Same*: no value and no slope changes in any batch that was tried (to 1e-14), and no law is broken: the "
            "mutant is another way to write the loss. *Stillborn*: it raises at any call. Neither counts. *Endless*: "
            "stopped after two minutes of computing, which a person would notice."
        ),
        _markdown("mistake", KINDS, outcomes),
        _markdown("module", dict.fromkeys(module for module, _ in modules), modules),
        "## Missed by the laws",
        "\n".join(listed or ["None."]),
    ]
    return "\n\n".join(parts) + "\n"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)
