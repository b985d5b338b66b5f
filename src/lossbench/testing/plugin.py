"""The pytest plugin: a test marked ``lossbench`` runs the laws on YAML files.

.. code-block:: python

    @pytest.mark.lossbench("conf/loss/my_loss.yaml", variants={"my_loss": [{"gamma": 0}]})
    def test_my_loss(law):
        law()

It is loaded with every pytest of its environment, so it imports nothing before a test asks for it.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "lossbench(path, variants={}): call the test with each law of lossbench for each component of these YAML "
        "files; a relative path starts at a folder around the test's file. The argument `law` is the law to call.",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    mark = metafunc.definition.get_closest_marker("lossbench")
    if mark is None:
        return
    from lossbench.testing.cases import find_cases
    from lossbench.testing.laws import laws_of, obey

    all_cases = find_cases(_pattern_near(mark.args[0], metafunc.definition.path), mark.kwargs.get("variants"))
    metafunc.parametrize(
        "law",
        [
            pytest.param(partial(obey, law, case), id=f"{case}-{law.__name__}")
            for case in all_cases
            for law in laws_of(case.kind)
        ],
    )


def _pattern_near(path: str | Path, test: Path) -> Path:
    """Find a relative pattern in the closest folder around the test that has it."""
    pattern = Path(path)
    for folder in () if pattern.is_absolute() else test.parents:
        if any((folder / pattern.parent).glob(pattern.name)):
            return folder / pattern
    return pattern
