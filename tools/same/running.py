"""Runs a checkout's commands, each in a folder and a process group of its own, and reads what they recorded."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from same.parts import TABLE, Case, write_table
from same.reading import finished, missing, read

BOOT = Path(__file__).parent / "boot"
TIMEOUT_SECONDS = 900
ATTEMPTS = 3
# They would lead a command to another store, or change what it does.
UNSET = ("MLFLOW_", "LOSSBENCH_", "HYDRA_", "PYTHON")
LOOK = "import lossbench, hydra_plugins; print(lossbench.__path__[0], *hydra_plugins.__path__, sep='\\n')"

_running: set[subprocess.Popen[bytes]] = set()
_leaving = False


def environment(checkout: Path) -> dict[str, str]:
    """Return the environment in which a checkout's modules are found, and no other's."""
    sources = str(checkout / "src")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(UNSET)}
    return {
        **inherited,
        "PYTHONPATH": os.pathsep.join([sources, str(BOOT)]),
        "SAME_SOURCES": sources,
        "OMP_NUM_THREADS": "1",
    }


def require_own_modules(checkout: Path) -> None:
    """Leave unless a checkout's own package and plugins, and no others of lossbench's, are what Python finds."""
    found = subprocess.run(
        [sys.executable, "-c", LOOK], env=environment(checkout), cwd="/", capture_output=True, text=True, check=False
    )
    package, *plugins = found.stdout.splitlines() or [""]
    others = [folder for folder in plugins[1:] if list(Path(folder).glob("lossbench_*"))]
    if Path(package) != checkout / "src" / "lossbench" or others:
        sys.exit(f"same: {checkout} finds lossbench in {package or found.stderr.strip()[-200:]} {' '.join(others)}")


def record(case: Case, checkout: Path, folder: Path) -> dict[str, Any]:
    """Run a case in a checkout and return its runs, and the problems that make it no proof of anything."""
    problems = []
    kept: set[str] = set()
    if case.part.killed:
        kept = _killed(case, checkout, folder)
    else:
        _prepare(folder)
    status = _wait(_start(case, checkout, folder))
    if status != 0:
        problems.append(f"the command ended with status {status}: {_last_words(folder)}")
    if not (folder / "mlruns" / "mlflow.db").is_file():
        return {"runs": {}, "problems": [*problems, "nothing was recorded"]}
    if case.part.killed and not (kept and kept <= finished(folder / "mlruns")):
        problems.append(f"it was to go on from {len(kept)} jobs that had ended before it was killed, and did not")
    runs = read(folder / "mlruns")
    problems += [f"no {kind} were found" for kind in missing(runs)]
    return {"runs": runs, "problems": problems}


def end_all() -> None:
    """Kill every command that still runs, and start no other."""
    global _leaving
    _leaving = True
    for process in list(_running):
        _kill(process)


def _prepare(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_table(folder / TABLE)


def _killed(case: Case, checkout: Path, folder: Path) -> set[str]:
    """Start a sweep, kill it once jobs have ended and others have not, and return the jobs that had."""
    for _ in range(ATTEMPTS):
        _prepare(folder)
        process = _start(case, checkout, folder)
        while process.poll() is None and not finished(folder / "mlruns"):
            time.sleep(0.02)
        if process.poll() is None:
            _kill(process)
            _wait(process)
            return finished(folder / "mlruns")
    return set()


def _start(case: Case, checkout: Path, folder: Path) -> subprocess.Popen[bytes]:
    if _leaving:
        raise InterruptedError
    line = [sys.executable, "-m", "lossbench", *case.arguments, f"paths.mlruns={folder / 'mlruns'}"]
    with (folder / "output.txt").open("ab") as output:
        process = subprocess.Popen(
            line, env=environment(checkout), cwd=folder, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    _running.add(process)
    return process


def _wait(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        _kill(process)
        return process.wait()
    finally:
        _running.discard(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError):  # it ended just now
            os.killpg(process.pid, signal.SIGKILL)


def _last_words(folder: Path) -> str:
    lines = (folder / "output.txt").read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
