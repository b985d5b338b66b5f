"""Domains: what they refuse, and that what is written back is what was meant."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossbench.errors import UserError
from lossbench.sweep.tuning.domain import Domain


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"low": 0.0}, ["low < high", "{'low': 0.0}"]),
        ({"low": 0.0, "high": "five"}, ["numbers low and high", "five"]),
        ({"low": 2.0, "high": 1.0}, ["low < high"]),
        ({"low": 0.0, "high": math.inf}, ["finite"]),
        ({"low": 0.0, "high": 1.0, "log": True}, ["low > 0"]),
        ({"low": 1.0, "high": 9.0, "log": True, "step": 1.0}, ["no step with log"]),
        ({"low": 0.0, "high": 1.0, "step": -1.0}, ["step > 0"]),
        ({"low": 0.5, "high": 3, "integer": True}, ["whole numbers", "0.5"]),
        ({"low": 0.1, "high": 1.0, "zero": True}, ["log", "zero"]),
        ({"low": 0.1, "high": 1.0, "log": "yes"}, ["log true or false", "yes"]),
        ({"low": 0.1, "hihg": 1.0}, ["hihg", "high"]),
        ({"choices": [1]}, ["two or more", "[1]"]),
        ({"choices": [[1], [2]]}, ["scalars"]),
        ({"choices": [1, 2], "low": 0}, ["nothing else"]),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_document_that_means_no_domain_is_refused_in_one_line(document: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UserError) as refused:
        Domain.read("loss.k", document)
    text = str(refused.value)
    assert "\n" not in text
    for word in ["loss.k", *words]:
        assert word in text


@given(st.floats(0.001, 10), st.floats(1.01, 1000), st.booleans(), st.floats(0, 1))
def test_what_is_drawn_lies_inside_and_comes_back(low: float, factor: float, log: bool, place: float) -> None:
    domain = Domain("k", low, low * factor, log=log)
    value = domain.value(low + place * (low * factor - low))
    assert domain.low <= value <= domain.high
    assert domain.value(domain.drawn(value)) == pytest.approx(value, rel=5e-4)


def test_four_digits_are_written_and_the_ends_are_reached() -> None:
    domain = Domain("k", 0.12343, 0.98767)
    assert domain.value(0.55555555) == 0.5556
    assert domain.value(0.12343) == 0.12343  # rounded, .1234 would lie outside
    assert domain.value(0.98767) == 0.98767


def test_zero_has_the_share_of_a_decade() -> None:
    domain = Domain("k", 1e-6, 1e-2, log=True, zero=True)
    distribution = domain.distribution()
    assert (distribution.low, distribution.high) == (1e-7, 1e-2)  # four decades and one
    assert domain.value(9.9e-7) == 0.0
    assert domain.value(1e-6) == 1e-6
    assert domain.value(domain.drawn(0.0)) == 0.0
    assert Domain("k", 1e-6, 1e-2, log=True).value(9.9e-7) == 1e-6


@pytest.mark.parametrize(
    ("domain", "value"),
    [
        (Domain("loss.k", 0.0, 1.0), 1.5),
        (Domain("loss.k", 0.0, 1.0), True),
        (Domain("loss.k", 0.0, 1.0), None),
        (Domain("loss.k", 0.1, 1.0, log=True), 0.0),
        (Domain("loss.k", 1, 9, integer=True), 2.5),
        (Domain("loss.k", choices=(1, 2)), 3),
        (Domain("loss.k", choices=(0, 1)), True),
    ],
)
def test_a_start_outside_names_key_value_and_the_way_out(domain: Domain, value: Any) -> None:
    with pytest.raises(UserError, match=r"loss\.k=.*outside.*tuning\.space\.loss\.k"):
        domain.drawn(value)


def test_whole_numbers_steps_and_choices_stay_what_they_are() -> None:
    whole = Domain("k", 1, 9, integer=True)
    assert whole.value(whole.drawn(4)) == 4
    assert isinstance(whole.drawn(4.0), int)
    assert Domain("k", 0.0, 1.0, step=0.1).value(0.30000000000000004) == 0.3
    assert Domain("k", choices=("a", None, True)).drawn(None) is None
