"""Docstrings in the house's form, taken apart: sentence, formula, conventions, when to use it, source, parameters."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import Any

_USE = "Use it "
_SOURCE = "Source: "


@dataclass(frozen=True)
class Docstring:
    """The parts of one docstring; paragraphs are single lines.

    ``formula`` is the first sentence after the summary, ``conventions`` what follows it up to the sections;
    ``parameters`` are by name as written (``gamma_neg, gamma_pos``); ``notes`` by term.
    """

    summary: str
    formula: str
    conventions: tuple[str, ...]
    use: str
    source: str
    parameters: dict[str, str]
    notes: dict[str, Docstring]


def parse(of: Any) -> Docstring:
    """Take apart the docstring of a class, function or module."""
    text = inspect.getdoc(of)
    if not text:
        raise ValueError(f"{of} has no docstring")
    head, sections = _sections(text)
    summary, *rest = _paragraphs(head)
    notes = {term: _parts("", _paragraphs(body)) for term, body in _terms(sections.get("Notes", "")).items()}
    parameters = {term: _one_line(body) for term, body in _terms(sections.get("Parameters", "")).items()}
    return _parts(summary, rest, parameters, notes)


def _parts(
    summary: str,
    paragraphs: list[str],
    parameters: dict[str, str] | None = None,
    notes: dict[str, Docstring] | None = None,
) -> Docstring:
    use = " ".join(part for part in paragraphs if part.startswith(_USE))
    source = " ".join(part.removeprefix(_SOURCE) for part in paragraphs if part.startswith(_SOURCE))
    body = [part for part in paragraphs if not part.startswith((_USE, _SOURCE, ">>>"))]
    formula, conventions = _first_sentence(body[0]) if body else ("", "")
    rest = tuple(part for part in (conventions, *body[1:]) if part)
    return Docstring(summary, formula, rest, use, source, parameters or {}, notes or {})


def _first_sentence(text: str) -> tuple[str, str]:
    first, *rest = sentences(text)
    return first, " ".join(rest)


def sentences(text: str) -> list[str]:
    """Split after a full stop that a capital or a bracket follows.

    >>> sentences("Per row -log p_y, p = f(z). a and b train. So (it is). (Or not.)")
    ['Per row -log p_y, p = f(z). a and b train.', 'So (it is).', '(Or not.)']
    """
    return re.split(r"(?<=\.) (?=[A-Z(])", text)


def _sections(text: str) -> tuple[str, dict[str, str]]:
    """Return what stands before the first underlined title, and the text of each section."""
    parts = re.split(r"^(\w+)\n-{3,}\n", text, flags=re.MULTILINE)
    return parts[0], dict(zip(parts[1::2], parts[2::2], strict=True))


def _terms(text: str) -> dict[str, str]:
    """Return the indented text under each term of a definition list."""
    terms: dict[str, list[str]] = {}
    current: list[str] = []
    for line in text.splitlines():
        if line and not line.startswith(" "):
            current = terms.setdefault(line, [])
        else:
            current.append(line.removeprefix("    "))
    return {term: "\n".join(lines) for term, lines in terms.items() if any(lines)}


def _paragraphs(text: str) -> list[str]:
    return [_one_line(part) for part in re.split(r"\n\s*\n", text) if part.strip()]


def _one_line(text: str) -> str:
    return " ".join(text.split())
