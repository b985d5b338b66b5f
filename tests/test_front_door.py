"""The front door: what `import lossbench` offers, and that a name is imported when it is asked for."""

from __future__ import annotations

from importlib.metadata import version

import pytest

import lossbench


def test_every_name_is_there() -> None:
    assert all(getattr(lossbench, name) is not None for name in lossbench.__all__)
    assert set(lossbench.__all__) <= set(dir(lossbench))
    assert lossbench.__version__ == version("lossbench")


def test_a_name_is_what_its_home_defines() -> None:
    from lossbench.config.compose import compose
    from lossbench.runs.execute import run

    assert (lossbench.compose, lossbench.run) == (compose, run)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'lossbench' has no attribute 'sweep_all'"):
        _ = lossbench.sweep_all
