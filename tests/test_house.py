"""The pages about the house are true of the house: its tree, and the README of every room."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
SRC = PROJECT / "src" / "lossbench"
HOUSE = (PROJECT / "docs" / "design" / "house.md").read_text(encoding="utf-8")
ROOMS = sorted(file.parent.name for file in SRC.glob("*/__init__.py"))
WALLS: dict[str, set[str]] = runpy.run_path(str(PROJECT / "tests" / "test_walls.py"))["MAY"]


def entries(tree: str) -> list[str]:
    """Return the names that a tree of the page lists: of `src/lossbench/` those below it, else its own lines."""
    block = re.search(rf"^```\n{re.escape(tree)}.*?^```$", HOUSE, re.MULTILINE | re.DOTALL)
    assert block, tree
    return re.findall(r"^ *([\w/.]+) {2,}\S", block[0], re.MULTILINE)


def test_the_tree_holds_every_room_and_loose_file_and_nothing_else() -> None:
    loose = [file.name for file in SRC.glob("*.py")]
    assert sorted(entries("src/lossbench/")) == sorted([*loose, *(f"{room}/" for room in ROOMS)])


def test_what_stands_around_src_exists() -> None:
    for name in entries("conf/"):
        assert (PROJECT / name).is_dir(), name


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_a_short_readme_that_knows_its_arrows(room: str) -> None:
    text = (SRC / room / "README.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {room}\n")
    assert len(text.splitlines()) <= 20
    (arrows,) = re.findall(r"^May import: ([^.]*)\.", text, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", arrows)) == WALLS[room]


@pytest.mark.parametrize("room", ROOMS)
def test_files_that_a_readme_names_are_there(room: str) -> None:
    text = (SRC / room / "README.md").read_text(encoding="utf-8")
    for name in re.findall(r"`([\w/]+\.py)`", text):
        assert any((folder / name).is_file() for folder in (SRC / room, SRC, PROJECT)), f"{room}/README.md names {name}"
