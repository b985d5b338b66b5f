"""Pages point at what is there: every relative link, every anchor, and every path of the project that a text names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

PROJECT = Path(__file__).parents[3]
FOLDERS = ("conf", "deploy", "docs", "scripts", "src", "tests", "tools")
PAGES = sorted(
    [*PROJECT.glob("*.md"), *(page for folder in FOLDERS for page in (PROJECT / folder).rglob("*.md"))],
)
# A path of ours: in one of our folders, or a file of a room; not a pattern, nor a name to be filled in, nor sklearn's.
PATH = re.compile(r"(?!sklearn/)\w+(?:/(?!NAME\b)[\w.]+)+|\w+\.md")
BLOCK = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SUFFIXES = (".py", ".md", ".yaml", ".json", ".svg", ".sh", ".j2")


@cache
def tokens(page: Path) -> tuple[Token, ...]:
    """Return the inline tokens of a page, less what stands in its code blocks."""
    parsed = MarkdownIt().enable("table").parse(page.read_text(encoding="utf-8"))
    return tuple(child for token in parsed for child in token.children or ())


def links(page: Path) -> Iterator[str]:
    for token in tokens(page):
        target = token.attrGet("href") if token.type == "link_open" else token.attrGet("src")
        if isinstance(target, str) and not re.match(r"[a-z]+:", target):
            yield target


@cache
def anchors(page: Path) -> frozenset[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    parsed = MarkdownIt().enable("table").parse(page.read_text(encoding="utf-8"))
    slugs = [
        re.sub(r"[^\w\- ]", "", "".join(child.content for child in inline.children or ()).lower()).replace(" ", "-")
        for token, inline in pairwise(parsed)
        if token.type == "heading_open"
    ]
    repeated = (f"{slug}-{slugs[:index].count(slug)}" for index, slug in enumerate(slugs) if slug in slugs[:index])
    return frozenset([*slugs, *repeated])


def name(page: Path) -> str:
    return str(page.relative_to(PROJECT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_points_at_something(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name(page)} links to {link}"
        if anchor:
            assert anchor in anchors(target), f"{name(page)} links to {link}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_path_that_a_text_names_exists(page: Path) -> None:
    """From the project, the package, or the page's own folder; a tutorial may name what its commands make."""
    blocks = "\n".join(BLOCK.findall(page.read_text(encoding="utf-8")))
    for token in tokens(page):
        path = token.content.rstrip("/")
        if token.type != "code_inline" or not PATH.fullmatch(path):
            continue
        if path.split("/")[0] not in FOLDERS and not path.endswith(SUFFIXES):
            continue
        homes = (PROJECT, PROJECT / "src" / "lossbench", page.parent)
        assert path in blocks or any((home / path).exists() for home in homes), f"{name(page)} names {path}"


def test_the_checks_see_links_anchors_and_paths() -> None:
    page = PROJECT / "docs" / "design" / "style.md"
    assert "../mutants.md" in list(links(page))
    assert "laws" in anchors(page)
    assert len(PAGES) > 30
