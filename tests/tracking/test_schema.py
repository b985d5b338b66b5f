"""The words of the record stand in the schema alone."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import lossbench
from lossbench.tracking import schema
from lossbench.tracking.schema import Artifact, Role, Tag

SRC = Path(lossbench.__path__[0])
# Rooms that know the record; the others may import nothing of `tracking`.
ROOMS = ("tracking", "runs", "sweep", "cli")


def words(names: type) -> set[str]:
    return {value for name, value in vars(names).items() if name.isupper()}


TAGS = words(Tag) | {f(split) for f in (schema.digest_tag, schema.rows_tag) for split in ("train", "val", "test")}
# `model.pt` as a whole, and as the end of a path.
FILE = re.compile(rf"(^|/)({'|'.join(map(re.escape, words(Artifact)))})$")
# `lossbench.objective` is a tag, and a package in `lossbench.objective.losses`.
TAG = re.compile(rf"(?<![\w.])({'|'.join(map(re.escape, TAGS))})(?!\.?\w)")


@cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the texts of a file, docstrings aside, each with its line; what an f-string fills in is {}."""
    aside = {id(node.value) for node in nodes(path) if isinstance(node, ast.Expr)}
    for node in nodes(path):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
            aside |= set(map(id, node.values))
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in aside:
            yield node.lineno, node.value


def files(*rooms: str) -> list[Path]:
    found = [path for room in rooms for path in sorted((SRC / room).rglob("*.py")) if "templates" not in path.parts]
    return [path for path in found if path != SRC / "tracking" / "schema.py"]


def test_no_other_file_spells_a_tag() -> None:
    spelled = [
        f"{path.relative_to(SRC)}:{line} {text!r}"
        for path in files(*ROOMS)
        for line, text in texts(path)
        if TAG.search(text) or re.search(r"\blossbench\.\w*\{\}", text)
    ]
    assert not spelled


def test_no_other_file_spells_the_name_of_an_artifact() -> None:
    spelled = [
        f"{path.relative_to(SRC)}:{line} {text!r}"
        for path in files("")
        for line, text in texts(path)
        if FILE.search(text)
    ]
    assert not spelled


def test_no_other_file_spells_a_role() -> None:
    spelled = [
        f"{path.relative_to(SRC)}:{node.value.lineno} {node.value.value!r}"
        for path in files(*ROOMS)
        for node in nodes(path)
        if isinstance(node, ast.keyword)
        and node.arg == "role"
        and isinstance(node.value, ast.Constant)
        and node.value.value in words(Role)
    ]
    assert not spelled


def test_words_are_distinct() -> None:
    for names in (Tag, Artifact, Role):
        values = [value for name, value in vars(names).items() if name.isupper()]
        assert len(values) == len(set(values)) > 5
