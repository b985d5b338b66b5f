"""Facts, files and docstrings as the page words them."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from catalogue.docstrings import parse
from catalogue.markdown import inline, paragraph

from lossbench.config.compose import project

NEEDS = {
    "both_classes": "both classes in a batch",
    "two_rows_of_a_class": "two rows of a class in a batch",
    "parameters": "parameters of its own",
}
STACKS = {"all": "yes", "equal_hyperparameters": "equal settings", "no": "**no**"}


def needs(names: frozenset[str]) -> str:
    return ", ".join(NEEDS.get(name, words(name)) for name in sorted(names)) or "–"


def words(name: str) -> str:
    return name.replace("_", " ")


def yes(fact: bool) -> str:
    return "yes" if fact else "no"


def code(module: ModuleType) -> str:
    return file(str(Path(str(module.__file__)).relative_to(project())))


def file(path: str) -> str:
    return f"[{path}](../{path})"


def about(of: ModuleType | type) -> list[str]:
    """Return what a docstring says, as two paragraphs."""
    doc = parse(of)
    return [paragraph(inline(text)) for text in (doc.summary, " ".join((doc.formula, *doc.conventions))) if text]
