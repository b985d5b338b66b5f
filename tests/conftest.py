"""What all tests share: the slow ones, of which an ordinary run takes a fixed sample."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import pytest

from commands import Command, Ended, run_command
from lossbench.processes import workers
from quick import is_quick, names_in

# Before mlflow is imported anywhere: no telemetry, no progress bars of its own.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

SAMPLE_ONE_IN = 5


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run every slow test, not a sample of them")
    parser.addoption("--quick", action="store_true", help="run the tests that catch most in two minutes")
    parser.addoption("--device", default="cpu", help="where the engine trains in its tests: cpu, cuda, elsewhere")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import files without a quick test, where those alone are asked for."""
    return (
        True
        if config.getoption("--quick") and collection_path.is_file() and names_in(collection_path) is None
        else None
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not asked for: with ``--quick`` all but the quick tests, else four of five slow ones.

    The sample of the slow tests is the same every time, and single tests that are named run in any case.

    What takes minutes says ``slow(sample=False)`` and is never in the sample.
    """
    if config.getoption("--quick"):
        config.hook.pytest_deselected(items=[item for item in items if not is_quick(item)])
        items[:] = [item for item in items if is_quick(item)]
    named = any("::" in argument for argument in config.args)
    if config.getoption("--slow") or named:
        return
    for item in items:
        slow = item.get_closest_marker("slow")
        if slow and (not slow.kwargs.get("sample", True) or zlib.crc32(item.nodeid.encode()) % SAMPLE_ONE_IN):
            item.add_marker(pytest.mark.skip(reason="slow: not in the sample; run by scripts/test --slow"))


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train the sweeps of commands that run in the tests' own process there, unless they ask for more.

    Two of pytest's workers share two cores as it is, and coverage sees what happens.
    """
    monkeypatch.setattr(workers, "available", lambda: 1)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the console command in this process, in a folder of its own and a terminal of 120 columns."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")

    def run(*arguments: str) -> Ended:
        capsys.readouterr()
        status = run_command(*arguments)
        return Ended(status, *capsys.readouterr())

    return run
