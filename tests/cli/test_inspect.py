"""``lossbench inspect``: what it prints, and that the YAML it writes is a choice that trains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from commands import Command
from lossbench.config.compose import compose
from lossbench.runs.prepare import draw


@pytest.fixture
def lossbench(command: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run the command beside a table as German Excel writes it."""
    monkeypatch.setenv("COLUMNS", "110")
    random = np.random.default_rng(0)
    pd.DataFrame(
        {
            "id": [f"K{row}" for row in range(200)],
            "größe": [f"{value:.1f}".replace(".", ",") for value in random.normal(170, 9, 200)],
            "zip": [f"{row % 5:05d}" for row in range(200)],
            "seit": pd.date_range("2020-01-01", periods=200).strftime("%d.%m.%Y"),
            "antwort": np.where(np.arange(200) % 4 == 0, "no", "yes"),
        }
    ).to_csv("leute.csv", index=False, sep=";", encoding="cp1252")
    return command


OPTIONS = ("encoding=cp1252", "categorical=[zip]", "positive=no")


def test_it_prints_what_it_understood(lossbench: Command) -> None:
    status, out, err = lossbench("inspect", "leute.csv", "antwort", *OPTIONS)
    assert (status, err) == (0, "")
    for line in (
        "leute.csv (cp1252, semicolon, decimal comma): 200 rows, 4 feature columns",
        "target antwort: 2 classes: yes 150 (75.0%), no 50 (25.0%); positive: no",
        "imbalance: the largest class has 3 times the rows of the smallest",
        "splits: train 120, val 40, test 40",
        "! nothing can be learnt from id: left out in the YAML below",
        "#   größe: numeric",
        "#   seit: date",
        "classes: ['yes', 'no'] # the last is positive",
        "drop: [id]",
    ):
        assert line in out


def test_what_it_saves_is_a_choice_that_makes_the_same_data(lossbench: Command) -> None:
    status, out, err = lossbench("inspect", "leute.csv", "antwort", *OPTIONS, "--save", "conf/data/mine.yaml")
    assert (status, err) == (0, "")
    assert "train with: lossbench data=mine" in out
    saved = draw(compose(["data=mine", "seed=3"]))
    given = ["data=table", "data.path=leute.csv", "data.target=antwort", "seed=3", "data.drop=[id]"]
    typed = draw(compose([*given, *(f"data.{option}" for option in OPTIONS)]))
    assert saved.digest == typed.digest
    assert saved.task == typed.task
    assert saved.task.class_names == ("yes", "no")
    assert saved.name == "leute"
    np.testing.assert_array_equal(saved.train.x, typed.train.x)
    again = lossbench("inspect", "leute.csv", "antwort", *OPTIONS, "--save", "conf/data/mine.yaml")
    assert again[0] == 2
    assert again[2] == "lossbench: conf/data/mine.yaml exists already: remove it or name another file\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("leute.csv", "antwort"), "leute.csv is not utf-8: byte 0xf6 in line 1; name its encoding, as in "),
        (("nobody.csv", "y"), "there is no file nobody.csv"),
        (
            ("leute.csv", "Antwort", "encoding=cp1252"),
            "leute.csv has no target column 'Antwort'; did you mean 'antwort'?",
        ),
        (("leute.csv", "antwort", "colour=red"), "an option is key=value with one of name, source_seed"),
        (("leute.csv", "antwort", "drop=id"), "inspect: Table needs drop to be a list of columns, got drop='id'"),
        (("leute.csv", "antwort", "drop=[id"), "the value of drop cannot be read: '[id'"),
    ],
)
def test_what_is_wrong_is_one_line(lossbench: Command, arguments: tuple[str, ...], message: str) -> None:
    status, _, err = lossbench("inspect", *arguments)
    assert status == 2
    assert err.startswith(f"lossbench: {message}")
    assert err.count("\n") == 1


def test_a_value_need_not_be_yaml(lossbench: Command, tmp_path: Path) -> None:
    names = np.where(np.arange(60) % 3 == 0, "<=50K", ">50K")
    pd.DataFrame({"x": range(60), "y": names}).to_csv(tmp_path / "t.csv", index=False, sep="|")
    status, out, err = lossbench("inspect", "t.csv", "y", "positive=<=50K", "delimiter=|", "--save", "conf/data/t.yaml")
    assert (status, err) == (0, "")
    assert "positive: <=50K" in out
    assert compose(["data=t"])["data"]["classes"] == [">50K", "<=50K"]
    assert lossbench("inspect", "t.csv", "y", "positive=>50K")[0] == 0


def test_letters_beyond_ascii_are_quoted_twice_on_the_command_line(lossbench: Command) -> None:
    status, _, err = lossbench("data=table", "data.path=leute.csv", "data.target=antwort", "data.drop=[größe,id]")
    assert status == 2
    assert err == (
        "lossbench: data.drop=[größe,id]: letters beyond ASCII need quotes of both kinds: "
        """'data.drop=["größe","id"]'\n"""
    )


def test_a_yaml_that_is_none_is_one_line(lossbench: Command, tmp_path: Path) -> None:
    (tmp_path / "conf" / "data").mkdir(parents=True)
    (tmp_path / "conf" / "data" / "mine.yaml").write_text("path: a\n{b\n")
    status, _, err = lossbench("data=mine")
    assert status == 2
    assert err.count("\n") == 1
