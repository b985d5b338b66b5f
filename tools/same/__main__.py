"""Runs the same commands in two checkouts and compares all that they recorded.

Exit status: 0 nothing differs, 1 something does or a command failed, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import platform
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

from same.comparing import compared, differences, said
from same.ignored import explained
from same.parts import PARTS, Case, cases
from same.running import end_all, record, require_own_modules

AT_A_TIME = 2
HERE = Path(__file__).parent
# What decides a record: another version of these reads something else.
DECISIVE = ("parts.py", "running.py", "reading.py", "ignored.py", "boot/sitecustomize.py")


def main() -> int:
    """Run both sides, print what differs and how much was compared, and return the exit status."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    wanted = cases(arguments.only, arguments.processes)
    for checkout in (arguments.old, arguments.new):
        require_own_modules(checkout)
    place = _place(arguments)
    print(f"old: {_described(arguments.old)}\nnew: {_described(arguments.new)}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="same-"))
    try:
        old, new = _both(wanted, arguments, folder, place)
        return _report(wanted, old, new, arguments)
    finally:
        end_all()
        if arguments.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _arguments() -> argparse.Namespace:
    parts = "\n".join(f"  {name}: {part.about}" for name, part in PARTS.items())
    parser = argparse.ArgumentParser(
        prog="scripts/same",
        description=__doc__,
        epilog=f"parts:\n{parts}\n\nnot compared:\n{explained()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("old", type=_checkout, metavar="OLD", help="a checkout of lossbench")
    parser.add_argument("new", type=_checkout, metavar="NEW", help="another; it may have changes")
    parser.add_argument("--only", type=_names, default=list(PARTS), metavar="PART,PART", help="these parts alone")
    parser.add_argument("--processes", type=_numbers, default=[1, 2], metavar="1,2", help="of each sweep")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="keep what OLD recorded there, and use it again")
    parser.add_argument("--keep", action="store_true", help="keep the folders that the commands wrote")
    parser.add_argument("--show", type=int, default=10, metavar="N", help="differences of each kind that are printed")
    parser.add_argument("--ignore", action="append", default=[], metavar="KIND:KEY", help="a pattern, as tags:*print")
    return parser.parse_args()


def _checkout(text: str) -> Path:
    path = Path(text).resolve()
    if not (path / "src" / "lossbench" / "__init__.py").is_file():
        raise argparse.ArgumentTypeError(f"{text} is no checkout of lossbench")
    return path


def _names(text: str) -> list[str]:
    names = text.split(",")
    if not set(names) <= set(PARTS):
        raise argparse.ArgumentTypeError(f"the parts are {', '.join(PARTS)}, got {text}")
    return names


def _numbers(text: str) -> list[int]:
    if not all(number.isdecimal() and int(number) > 0 for number in text.split(",")):
        raise argparse.ArgumentTypeError(f"numbers of processes, as in 1,2, got {text}")
    return [int(number) for number in text.split(",")]


def _both(
    wanted: list[Case], arguments: argparse.Namespace, folder: Path, place: Path | None
) -> tuple[dict[Case, Any], dict[Case, Any]]:
    """Return the record of every case in both checkouts; OLD's from the cache where it is there."""
    old = {case: found for case in wanted if (found := _cached(place, case)) is not None}
    new: dict[Case, Any] = {}
    tasks = [
        (case, side, kept)
        for case in wanted
        for side, kept in (("old", old), ("new", new))
        if kept is new or case not in old
    ]

    def do(task: tuple[Case, str, dict[Case, Any]]) -> None:
        case, side, kept = task
        start = time.monotonic()
        kept[case] = record(case, getattr(arguments, side), folder / side / case.folder)
        if kept is old:
            _keep(place, case, kept[case])
        print(f"{side} {_title(case)}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        try:
            list(pool.map(do, tasks))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            end_all()
            raise
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{used.ru_utime + used.ru_stime:.0f} s of CPU time in all", file=sys.stderr)
    return old, new


def _report(wanted: list[Case], old: dict[Case, Any], new: dict[Case, Any], arguments: argparse.Namespace) -> int:
    """Print differences, problems and what was compared; return the exit status."""
    total: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    problems = 0
    for case in wanted:
        one, two = old[case]["runs"], new[case]["runs"]
        for side, found in (("old", old), ("new", new)):
            for problem in found[case]["problems"]:
                problems += 1
                print(f"{_title(case)}, {side}: {problem}")
        different = 0
        for difference in differences(one, two, arguments.ignore):
            different += 1
            kinds[difference.kind] += 1
            if kinds[difference.kind] <= arguments.show:
                print(f"{_title(case)}, {difference}")
        counts = compared(one, two)
        total.update(counts)
        print(f"{_title(case)}: {different or 'no'} differences in {said(counts)}")
    print(f"compared: {said(total)}" + (f"; but for {', '.join(arguments.ignore)}" if arguments.ignore else ""))
    if kinds:
        shown = {kind: min(number, arguments.show) for kind, number in kinds.items()}
        print("different: " + ", ".join(f"{number} {kind} ({shown[kind]} shown)" for kind, number in kinds.items()))
    if problems:
        print(f"{problems} problems: this proves nothing")
    return 1 if kinds or problems else 0


def _title(case: Case) -> str:
    shared = {None: "", 1: ", 1 process"}.get(case.processes, f", {case.processes} processes")
    return f"{case.name}{shared}"


def _place(arguments: argparse.Namespace) -> Path | None:
    """Return where OLD's records are kept: by its commit, what reads them, and what computes; None without a cache."""
    if arguments.cache is None:
        return None
    if _git(arguments.old, "status", "--porcelain") or not (commit := _git(arguments.old, "rev-parse", "HEAD")):
        print("same: OLD has changes, or is no repository: its records are not kept", file=sys.stderr)
        return None
    digest = hashlib.sha256(repr([platform.python_version(), _processor()]).encode())
    for package in ("torch", "lightning", "numpy", "scikit-learn", "mlflow", "pandas", "optuna"):
        digest.update(f"{package} {version(package)}".encode())
    for name in DECISIVE:
        digest.update((HERE / name).read_bytes())
    return Path(arguments.cache).resolve() / f"{commit[:12]}-{digest.hexdigest()[:12]}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith("model name")), "")


def _git(checkout: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(checkout), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _described(checkout: Path) -> str:
    """Return a checkout's folder, commit and whether it has changes."""
    changes = " with changes" if _git(checkout, "status", "--porcelain") else ""
    return f"{checkout} at {_git(checkout, 'rev-parse', '--short', 'HEAD') or 'no commit'}{changes}"


def _cached(place: Path | None, case: Case) -> Any:
    file = None if place is None else place / f"{case.folder}.json.gz"
    return json.loads(gzip.decompress(file.read_bytes())) if file is not None and file.is_file() else None


def _keep(place: Path | None, case: Case, found: dict[str, Any]) -> None:
    """Keep a record, unless there are problems with it."""
    if place is None or found["problems"]:
        return
    place.mkdir(parents=True, exist_ok=True)
    draft = place / f".{case.folder}.partial"
    draft.write_bytes(gzip.compress(json.dumps(found).encode(), 1))
    draft.rename(place / f"{case.folder}.json.gz")


if __name__ == "__main__":
    sys.exit(main())
