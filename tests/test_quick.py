"""The list of quick tests names files and tests that are there."""

from __future__ import annotations

import re

import pytest

from lossbench.testing.laws import laws_of
from quick import LAWS, QUICK, TESTS


@pytest.mark.parametrize("path", QUICK)
def test_a_quick_file_has_the_tests_that_are_named(path: str) -> None:
    defined = set(re.findall(r"^def (test_\w+)", (TESTS / path).read_text(encoding="utf-8"), re.MULTILINE))
    assert set(QUICK[path]) <= defined


def test_the_quick_laws_are_laws_of_losses() -> None:
    assert set(LAWS) <= {law.__name__ for law in laws_of("loss")}
