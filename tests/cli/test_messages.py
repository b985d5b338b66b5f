"""What a command says as it ends badly: one line, an exit status, and a hint where the line may not be enough."""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool

import pytest
from joblib.externals.loky.process_executor import TerminatedWorkerError

from lossbench.cli.messages import explain, unusable_path
from lossbench.errors import CannotServe, Failed, UserError
from lossbench.runs.ranks import RankFailed
from lossbench.sweep.lifecycle import SweepFailed
from lossbench.tracking.store.outbox import StoreUnreachable
from lossbench.training.fit import Diverged


@pytest.mark.parametrize("kind", [Diverged, RankFailed, StoreUnreachable, SweepFailed])
def test_what_failed_is_said_by_its_own_line(kind: type[Failed]) -> None:
    said = explain(kind("3 of 4\n jobs failed"))
    assert (said.line, said.status, said.is_unexpected) == ("3 of 4 jobs failed", 1, False)


def test_a_users_error_has_a_status_of_its_own() -> None:
    for kind in (UserError, CannotServe):
        said = explain(kind("seed is an integer, got 'three'"))
        assert (said.line, said.status, said.is_unexpected) == ("seed is an integer, got 'three'", 2, False)


@pytest.mark.parametrize("kind", [BrokenProcessPool, TerminatedWorkerError])
def test_workers_that_were_killed_say_how_to_go_on(kind: type[Exception]) -> None:
    said = explain(kind("a process in the process pool was terminated abruptly"))
    assert "the same command goes on" in said.line
    assert (said.status, said.is_unexpected) == (1, False)


def test_anything_else_names_its_class_and_asks_for_the_traceback() -> None:
    class SweepFailed(Exception):
        """Of the same name, and no relation."""

    said = explain(SweepFailed("by hand"))
    assert (said.line, said.status, said.is_unexpected) == ("SweepFailed: by hand", 1, True)


def test_a_path_that_cannot_be_used_is_the_users() -> None:
    said = unusable_path(PermissionError(13, "Permission denied", "/nowhere/mlruns"))
    assert said is not None
    assert (said.line, said.status) == ("/nowhere/mlruns: permission denied; paths.mlruns names another place", 2)
    assert unusable_path(PermissionError("no file is named")) is None
