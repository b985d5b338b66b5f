"""One word for a thing: names of modules, classes, functions and parameters say what the thing is.

The glossary stands in CONTRIBUTING.md. Refused are words that can stand for anything (what was found, said, told, made
or given; a place; what is known or one's own) and functions that bear their module's name as if they were a thing.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "lossbench"
# Rooms whose names have been gone through; a room is added when it has been.
ROOMS = (
    "sweep/tuning",
    "data",
    "evaluation",
    "inference",
    "models",
    "objective",
    "testing",
    "training",
    "task",
    "randomness",
)
INSTEAD = {
    "place": "index, folder, path, address or sort key",
    "places": "indices, folders or paths",
    "found": "what it is: digest, document, rows, labels",
    "said": "what it is: a message, a text, a prediction",
    "told": "what it is: settings, terms, an ended trial",
    "made": "what it is",
    "given": "what it is: arguments, settings, options",
    "known": "what it is: names, defaults",
    "own": "whose it is: of a rank, a class, a replicate",
    "gathered": "regrouped or gather",
    "crew": "workforce",
    "heed": "obey",
    "void": "superseded",
    "unheard": "not recorded",
    "quiet": "recorded=False",
    "judged": "assessment, verdict",
    "earlier": "resumed",
    "standing": "progress",
}
# Public names: configs and documents name them.
PUBLIC = {"own_metrics", "external"}
# Verbs, which a module of one function may be called by.
VERBS = {"assess", "compose", "confirm", "explain", "fit", "inspect", "prepare", "rebuild", "train", "tune"}


def words(name: str) -> set[str]:
    """Return the words of a name in lower case: snake_case and CamelCase."""
    spaced = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name)
    return set(spaced.replace("_", " ").split())


def names(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and name of a module, its classes, its functions and their parameters."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    yield 1, path.stem
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg


def files(room: str) -> list[Path]:
    return [PACKAGE / f"{room}.py"] if (PACKAGE / f"{room}.py").is_file() else sorted((PACKAGE / room).rglob("*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_names_say_what_a_thing_is(room: str) -> None:
    assert files(room)
    wrong = [
        f"{path.relative_to(PACKAGE)}:{line} {name}: say {INSTEAD[word]}"
        for path in files(room)
        for line, name in names(path)
        if name not in PUBLIC
        for word in words(name) & set(INSTEAD)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("room", ROOMS)
def test_functions_are_verbs_and_not_called_as_their_modules(room: str) -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in files(room)
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name == path.stem and node.name not in VERBS | PUBLIC
    ]
    assert not wrong, "\n".join(wrong)
