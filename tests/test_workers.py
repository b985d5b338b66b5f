"""Worker processes: what they raise, what a Ctrl-C does to them, and how they go."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from lossbench.errors import CannotServe
from lossbench.workers import Workers


class Unsendable(Exception):
    """Cannot be made again from its arguments."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


def refuse() -> None:
    raise CannotServe("loss: three classes")


def break_down() -> None:
    raise Unsendable("a", "b")


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with Workers(1) as made:
        yield made


def test_an_error_reaches_the_command_as_what_it_is(workers: Workers) -> None:
    with pytest.raises(CannotServe, match="^loss: three classes$"):
        workers.submit(refuse).result()


def test_an_error_that_cannot_be_sent_is_told_by_name(workers: Workers) -> None:
    with pytest.raises(RuntimeError, match="^Unsendable: a b$"):
        workers.submit(break_down).result()


def test_ctrl_c_ends_what_is_done_and_not_who_waits(workers: Workers) -> None:
    process = workers.submit(os.getpid).result()
    os.kill(process, signal.SIGINT)
    assert workers.submit(os.getpid).result() == process
    sleeping = workers.submit(time.sleep, 60)
    while not sleeping.running():
        time.sleep(0.01)
    time.sleep(0.2)
    os.kill(process, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        sleeping.result(timeout=30)
    assert workers.submit(os.getpid).result() == process


def test_abandoned_workers_end_with_what_they_do() -> None:
    workers = Workers(1)
    process = workers.submit(os.getpid).result()
    workers.submit(time.sleep, 60)
    start = time.monotonic()
    workers.abandon()
    assert time.monotonic() - start < 30
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_few_jobs_are_worth_no_process() -> None:
    assert Workers.enough_for(16, 2) is None
    assert Workers.enough_for(1000, 1) is None
