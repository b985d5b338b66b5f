"""What a report says of one model: the columns that it looks at, and its surest mistakes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# More columns than these cannot be read in a page.
COLUMNS = 30

Table = tuple[str, list[str], list[list[str]]]


def tables(explanation: Mapping[str, Any]) -> list[Table]:
    """Return caption, headers and rows of each table of an explanation, as the record keeps it."""
    metric, split = explanation["metric"], explanation["split"]
    importances = [
        [str(entry["column"]), f"{entry['importance']:.4f}", f"{entry['sd']:.4f}"]
        for entry in explanation["importances"][:COLUMNS]
    ]
    parts: list[Table] = [
        (
            f"By how much {metric} on {split} ({explanation['value']:.4f}) gets worse when a column is permuted",
            ["column", "importance", "standard deviation"],
            importances,
        )
    ]
    mistakes = explanation["mistakes"]
    for true in dict.fromkeys(entry["true"] for entry in mistakes):
        of_class = [entry for entry in mistakes if entry["true"] == true]
        headers = [str(name) for name in of_class[0] if name != "true"]
        rows = [[_cell(entry[name]) for name in entry if name != "true"] for entry in of_class]
        parts.append((f"Rows of {true} that were labelled otherwise, the surest first", headers, rows))
    return parts


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
