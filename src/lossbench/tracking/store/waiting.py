"""Calls that a store did not take, in files: one folder a run, one file a call, in order."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from filelock import FileLock

from lossbench.tracking.store.calls import Call

_REFUSED = "refused"


class WaitingCalls:
    """The calls that wait in a folder; whoever reads or adds to those of a run holds its lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def runs(self) -> list[str]:
        """Return the runs of which calls wait."""
        if not self.folder.is_dir():
            return []
        return sorted(each.name for each in self.folder.iterdir() if each.is_dir() and each.name != _REFUSED)

    def waits(self, run: str) -> bool:
        """Return whether calls of a run wait."""
        return (self.folder / run).exists()

    def count(self) -> int:
        """Return how many calls wait."""
        return sum(len(self.files(run)) for run in self.runs())

    def files(self, run: str) -> list[Path]:
        """Return the files of a run's calls, oldest first."""
        return sorted((self.folder / run).glob("*.json"))

    def lock(self, run: str) -> FileLock:
        """Return the lock of a run's calls, for a `with`; a process that has it may take it again."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self.folder / f"{run}.lock", is_singleton=True)

    def read(self, file: Path) -> Call:
        """Return the call in a file."""
        return Call.from_json(file.parent.name, json.loads(file.read_text()))

    def keep(self, call: Call) -> None:
        """Keep a call behind those of its run that wait already."""
        folder = self.folder / call.run
        folder.mkdir(parents=True, exist_ok=True)
        number = max((int(file.stem) for file in self.files(call.run)), default=-1) + 1
        if call.name == "log_artifact":
            # Under its own name, which is what it will be called in the run.
            copy = folder / f"{number:06d}.file" / Path(call.values["local_path"]).name
            copy.parent.mkdir()
            shutil.copyfile(call.values["local_path"], copy)
            call = Call(call.run, call.name, {**call.values, "local_path": str(copy)})
        draft = folder / f"{number:06d}.partial"
        draft.write_text(json.dumps(call.as_json()))
        os.replace(draft, draft.with_suffix(".json"))

    def refuse(self, file: Path) -> Path:
        """Put a call aside that the store refuses for good, and return its new file."""
        refused = self.folder / _REFUSED / f"{file.parent.name}-{file.name}"
        refused.parent.mkdir(exist_ok=True)
        os.replace(file, refused)
        return refused

    def clear(self, run: str) -> None:
        """Remove a run's folder, of which all calls have been delivered."""
        shutil.rmtree(self.folder / run, ignore_errors=True)
