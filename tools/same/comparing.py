"""Two records side by side: what differs, in lines, and how much was compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from same.reading import Run

NOTHING = "(nothing)"
WIDTH = 70
COUNTED = {  # what an entry of each kind is called
    "metrics": "metrics",
    "histories": "histories",
    "params": "params",
    "tags": "tags",
    "files": "files",
    "predictions": "columns of predictions",
    "config": "keys of configs",
    "model": "parts of models",
    "data": "data sets",
}


@dataclass(frozen=True)
class Difference:
    """One value that the two sides do not agree on; None where a side has none."""

    run: str
    kind: str
    key: str
    old: str | None
    new: str | None

    def __str__(self) -> str:
        old, new = _apart(self.old, self.new)
        return f"{self.run}: {self.kind} {self.key}: {old} | {new}"


def differences(old: dict[str, Run], new: dict[str, Run], ignored: list[str]) -> Iterator[Difference]:
    """Yield all that differs; a run that one side lacks is one difference.

    Parameters
    ----------
    ignored
        Patterns ``kind:key`` beside the list of `same.ignored`.
    """
    for name in _union(old, new):
        if name not in old or name not in new:
            yield Difference(name, "runs", "", *("a run" if name in side else None for side in (old, new)))
            continue
        for kind in _union(old[name], new[name]):
            one, two = old[name].get(kind, {}), new[name].get(kind, {})
            for key in _union(one, two):
                skipped = any(fnmatchcase(f"{kind}:{key}", pattern) for pattern in ignored)
                if one.get(key) != two.get(key) and not skipped:
                    yield Difference(name, kind, key, one.get(key), two.get(key))


def compared(old: dict[str, Run], new: dict[str, Run]) -> Counter[str]:
    """Return how many entries of each kind both sides have, and how many runs."""
    both = [(old[name], new[name]) for name in old if name in new]
    counts = Counter({"runs": len(both)})
    for kind, name in COUNTED.items():
        counts[name] = sum(len(one.get(kind, {}).keys() & two.get(kind, {}).keys()) for one, two in both)
    return counts


def said(counts: Counter[str]) -> str:
    """Return counts in words."""
    return ", ".join(f"{number:,} {name}" for name, number in counts.items())


def _union(one: dict[str, object], two: dict[str, object]) -> list[str]:
    return [*one, *(key for key in two if key not in one)]


def _apart(old: str | None, new: str | None) -> tuple[str, str]:
    """Return two values as they are shown: long ones from a little before the first place at which they differ."""
    texts = [NOTHING if value is None else value for value in (old, new)]
    start = 0
    if None not in (old, new) and max(map(len, texts)) > WIDTH:
        same = next((place for place, pair in enumerate(zip(*texts, strict=False)) if pair[0] != pair[1]), None)
        start = max(0, (min(map(len, texts)) if same is None else same) - WIDTH // 3)
    cut = [("..." if start else "") + text[start : start + WIDTH] for text in texts]
    cut = [shown + ("..." if len(text) > start + WIDTH else "") for shown, text in zip(cut, texts, strict=True)]
    return tuple(shown.replace("\n", "\\n") for shown in cut)  # type: ignore[return-value]  # two
