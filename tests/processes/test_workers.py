"""Worker processes: what they raise, what a Ctrl-C does to them, and how they go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lossbench.cli.main import _will_start_workers
from lossbench.errors import CannotServe, Failed
from lossbench.processes.workers import Workers, available, portable


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


def test_an_error_is_sent_without_what_its_traceback_holds() -> None:
    """Networks, for one, of a stack that failed."""
    try:
        raise Failed("by hand") from ValueError("before")
    except Failed as error:
        error.add_note("on rank 1")
        copy = portable(error)
    assert type(copy) is Failed
    assert str(copy) == "by hand"
    assert copy.__notes__ == ["on rank 1"]
    assert copy.__traceback__ is copy.__cause__ is copy.__context__ is None


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


def test_one_job_or_one_process_is_left_to_the_command() -> None:
    assert Workers.enough_for(1, 2) is None
    assert Workers.enough_for(1000, 1) is None
    found = Workers.enough_for(2, 3)
    assert found is not None
    assert found.number == 3


@pytest.mark.skipif(sys.platform != "linux", reason="a server elsewhere ends when it has imported everything")
def test_a_refused_command_leaves_no_server_behind(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "lossbench", "-m", "loss=nothing", "hydra.launcher.processes=2"]
    wanted = 3 if available() > 1 else 1  # the server and its tracker beside the command
    most = 0
    for _ in range(5):  # a busy machine may not let us look while the server is there
        command = subprocess.Popen(line, cwd=tmp_path, stderr=subprocess.DEVNULL, start_new_session=True)
        while command.poll() is None:
            most = max(most, len(alive_in_group(command.pid)))
            time.sleep(0.01)
        assert command.returncode == 2
        until = time.monotonic() + 1  # it would import for longer
        while alive_in_group(command.pid):
            assert time.monotonic() < until
            time.sleep(0.01)
        if most == wanted:
            return
    pytest.fail(f"saw {most} processes at most, not {wanted}")


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("-m seed=0,1", True),
        ("--multirun hydra.launcher.processes=16", True),
        ("seed=0", False),
        ("-m --cfg job", False),
        ("-m hydra/launcher=basic", False),
        ("-m hydra.launcher.processes=1", False),
    ],
)
def test_processes_are_expected_for_a_sweep_of_our_launcher(typed: str, expected: bool) -> None:
    assert _will_start_workers(typed.split()) is expected


def alive_in_group(group: int) -> list[str]:
    """The processes of a group that have not ended; some machines fetch ended ones late."""
    states = [read_if_there(place) for place in Path("/proc").glob("[0-9]*/stat")]
    fields = [state.rpartition(")")[2].split() for state in states if state]
    return [state for state, _, of, *_ in fields if int(of) == group and state != "Z"]


def read_if_there(place: Path) -> str:
    try:
        return place.read_text()
    except OSError:
        return ""


SWEEP = """
import sys
from lossbench.cli import main
from lossbench.sweep.answer import Answer

if __name__ == "__main__":
    show = Answer.show
    def imported():
        return sorted({"torch", "sklearn", "lightning"} & set(sys.modules))
    def shown(self, console):
        print("imported:", *imported())
        show(self, console)
    Answer.show = shown
    sys.argv[1:] = ["-m", "data=iris", "loss=cross_entropy,brier", "seed=range(9)", "trainer.max_epochs=1",
                    "hydra.launcher.processes=2", "paths.mlruns=mlruns"]
    try:
        main.main()
    finally:
        print("at the end:", *imported())
"""


@pytest.mark.slow
def test_a_sweep_with_processes_imports_torch_in_these_alone(tmp_path: Path) -> None:
    (tmp_path / "command.py").write_text(SWEEP)
    done = subprocess.run(
        [sys.executable, "command.py"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=300
    )
    assert "imported:\n" in done.stdout, done.stdout + done.stderr
    assert done.stdout.index("imported:") < done.stdout.index("brier")
    assert done.stdout.endswith("at the end:\n")


def test_ctrl_c_while_the_workers_import_leaves_no_traceback(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "lossbench", "-m", "loss=cross_entropy,brier", "seed=range(9)", "paths.mlruns=mlruns"]
    line += ["hydra.launcher.processes=2", "trainer.max_epochs=1"]
    with subprocess.Popen(line, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True) as command:
        children = Path(f"/proc/{command.pid}/task/{command.pid}/children")
        while len(children.read_text().split()) < 2:  # the server and its tracker
            time.sleep(0.05)
        time.sleep(0.5)
        os.killpg(command.pid, signal.SIGINT)
        _, said = command.communicate(timeout=60)
    assert (command.returncode, said) == (130, "lossbench: interrupted\n")
