"""The report: every section, every name escaped, every figure with words, and nothing asked of the network."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser

import pandas as pd
import pytest

from lossbench.comparison.leaderboard import build_leaderboard
from lossbench.comparison.report.evidence import Evidence, Names
from lossbench.comparison.report.page import About, Report, build_page

Build = Callable[..., Evidence]
HOSTILE = "<script>alert('x')</script>"
VOID = {"meta", "br", "link", "img", "hr", "input"}


class Page(HTMLParser):
    """What a browser would make of a page: its elements, its texts, and whether every element is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


ABOUT = About(
    "losses on rings",
    question="Which loss wins?",
    sweeps=["losses on rings (abc123)"],
    started="2026-01-01 00:00 UTC",
    commands=["lossbench comparison=losses_on_rings"],
    versions={"torch": "2.13", "git commit": "deadbeef"},
    failures=pd.DataFrame(
        [{"name": "s0 · mae", "overrides": "loss=mae seed=0", "status": "FAILED", "error": "ValueError: nan"}]
    ),
    left_out=[("loss=arcface model=linear", "arcface needs features")],
    links=["http://127.0.0.1:5000/#/experiments/1"],
)


@pytest.fixture(scope="module")
def several(evidence: Build) -> Report:
    return build_page(evidence({"a": 1.0, "b": 2.0, "c": 3.0}, seeds=2, data=("iris", "wine")), ABOUT)


@pytest.fixture(scope="module")
def made(evidence: Build) -> Report:
    names = Names(("negative", "positive"), ("width", "height"))
    return build_page(evidence({"cross_entropy": 2.0, "focal": 2.5, "brier": 1.0}, names=names), ABOUT)


def test_every_section_is_there(made: Report) -> None:
    page = Page(made.html)
    assert page.open == []
    text = page.text
    for expected in (
        "Which loss wins?",
        "Train with focal: all 2 others are worse (95%).",
        "Leaderboard by test/auroc (higher is better)",
        "sign-flip test, n = 12 seeds",
        "Metrics on rings",
        "classes: negative, positive",
        "features: width, height",
        "rows: 100 train, 20 val, 60 test",
        "12: 0 to 11; under one seed",
        "the best of up to 3 by val/auroc, never by a test figure",
        "1 job did not finish",
        "loss=mae seed=0",
        "FAILED: ValueError: nan",
        "arcface needs features",
        "lossbench comparison=losses_on_rings",
        "2.13",
        "deadbeef",
        "abc123",
    ):
        assert expected in text, expected
    assert "ece, posterior" in text
    assert [name["id"] for name in page.all("section") if "id" in name] == [
        "answer", "leaderboard", "figures", "protocol", "failures", "reproduce"
    ]  # fmt: skip


def test_without_a_question_failures_or_a_command_it_says_so(evidence: Build) -> None:
    text = Page(build_page(evidence({"focal": 1.0}, seeds=2), About("x")).html).text
    assert "None: every job finished, and none was left out." in text
    assert "No command was recorded." in text


def test_every_figure_has_its_message_in_words(made: Report) -> None:
    page = Page(made.html)
    labels = [one["aria-label"] for one in page.all("div") if one.get("role") == "img"]
    names = [picture.name for picture in made.pictures]
    assert len(labels) == len(page.all("figure")) == len(page.all("svg")) == len(names)
    assert {"ranking", "differences", "roc_rings", "decision_regions_rings"} <= set(names)
    assert len(set(names)) == len(names)
    for label, picture in zip(labels, made.pictures, strict=True):
        assert label == f"{picture.title}. {picture.message}"
        assert re.search(r"\d", picture.message), picture.name
        assert picture.message.endswith((".", "baseline and the last.")), picture.name
        # The message is the caption too.
        assert " ".join(picture.message.split()) in page.text


def test_nothing_is_asked_of_the_network(made: Report) -> None:
    page = Page(made.html)
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            if name.startswith("xmlns") or (tag == "a" and name == "href"):
                continue
            assert "http" not in value, (tag, name, value[:80])
            if name in ("src", "href", "xlink:href"):
                assert value.startswith(("#", "data:")), (tag, name, value[:80])
    assert not page.all("script")
    assert not page.all("link")
    assert "@import" not in made.html
    assert not re.search(r"url\((?!#)", made.html)
    policy = next(one["content"] for one in page.all("meta") if one.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def test_names_stay_text(evidence: Build) -> None:
    names = Names((HOSTILE, "a & b"), (HOSTILE, '" onload="x'))
    strengths = {"cross_entropy": {"loss": HOSTILE, "strength": 2.0}, HOSTILE: {"loss": "x", "strength": 2.5}}
    made = build_page(
        evidence(strengths, names=names, data=(HOSTILE,)),
        About(
            HOSTILE, question=HOSTILE, sweeps=[HOSTILE], commands=[HOSTILE], versions={HOSTILE: HOSTILE},
            failures=pd.DataFrame([{"name": "s", "overrides": HOSTILE, "status": "FAILED", "error": HOSTILE}]),
            left_out=[(HOSTILE, HOSTILE)], links=[f'javascript:"{HOSTILE}'],
        ),
    )  # fmt: skip
    page = Page(made.html)
    assert page.open == []
    assert not page.all("script")
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert page.text.count(HOSTILE) > 15
    assert "<script" not in made.html
    assert all(b"<script" not in picture.file for picture in made.pictures)


def test_ids_are_unique(several: Report) -> None:
    page = Page(several.html)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    used = {value[1:] for _, attributes in page.elements for name, value in attributes.items() if "href" in name
            and value.startswith("#")}  # fmt: skip
    assert used <= set(ids)


def test_several_datasets_have_a_table_each(several: Report) -> None:
    page = Page(several.html)
    for name in ("iris", "wine"):
        assert f"Metrics on {name}" in page.text
        assert any(picture.name == f"roc_{name}" for picture in several.pictures)
    assert any(picture.name == "critical_difference" for picture in several.pictures)


def test_without_a_finished_run_it_says_so(evidence: Build) -> None:
    made = evidence({"a": 1.0, "b": 2.0}, seeds=2)
    broken = made.runs.assign(status="FAILED")
    found = build_page(Evidence(broken, build_leaderboard(broken, "test/auroc")), ABOUT)
    text = Page(found.html).text
    assert "No objective has a value." in text
    assert "runs 4, of which 0 finished" in text
    assert found.pictures == []


def test_runs_that_lossbench_did_not_make(evidence: Build) -> None:
    made = evidence({"a": 1.0, "b": 2.0}, seeds=3)
    foreign = made.runs[["run_id", "objective", "role", "status", "seconds", "metrics.test/auroc"]]
    text = Page(build_page(Evidence(foreign, build_leaderboard(foreign, "test/auroc")), About("x")).html).text
    assert "b has the best mean test/auroc" in text
    assert "not recorded" in text
