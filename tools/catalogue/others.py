"""The tables of weightings and regularizers."""

from __future__ import annotations

from catalogue.entries import TWO, Entry
from catalogue.markdown import inline, item, quantity, table
from catalogue.words import about, code, file, needs


def weighting_section(weightings: list[Entry]) -> list[str]:
    counts = ", ".join(map(str, TWO.class_counts))
    rows = [
        [
            f"**{entry.name}**",
            inline(entry.header),
            ", ".join(f"{weight:.3g}" for weight in entry.part.class_weights.tolist()),
            _given(entry),
        ]
        for entry in weightings
    ]
    return [
        "## Weightings",
        *_family_notes(weightings, "lossbench.objective.weighting"),
        table(["weighting", "what", f"class weights for counts {counts}", "settings"], rows),
        *_notes(weightings, "weighting"),
    ]


def regularizer_section(regularizers: list[Entry]) -> list[str]:
    rows = [
        [f"**{entry.name}**", inline(entry.header), needs(entry.part.needs), _given(entry)] for entry in regularizers
    ]
    return [
        "## Regularizers",
        *_family_notes(regularizers, "lossbench.objective.regularizer"),
        table(["regularizer", "what", "needs", "settings"], rows),
        *_notes(regularizers, "regularizer"),
    ]


def _family_notes(entries: list[Entry], module: str) -> list[str]:
    """Return what the docstring of their common base class says; it stands in ``module``."""
    return about(next(kind for kind in type(entries[0].part).__mro__[::-1] if kind.__module__ == module))


def _notes(entries: list[Entry], group: str) -> list[str]:
    lines = []
    for entry in entries:
        doc = entry.doc
        said = " ".join((doc.summary, doc.formula, *doc.conventions)).strip()
        source = f" Source: {inline(doc.source)}" if doc.source else ""
        files = f"{code(entry.module)}, {file(f'conf/{group}/{entry.name}.yaml')}"
        lines.append(item(f"**{entry.name}**: {inline(said)}{source} ({files})"))
    return ["\n".join(lines)]


def _given(entry: Entry) -> str:
    return ", ".join(f"`{key}: {quantity(value)}`" for key, value in entry.config.items()) or "–"
