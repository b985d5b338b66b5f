"""All that is read and not compared, with the reason; there are no other exceptions."""

from __future__ import annotations

from fnmatch import fnmatchcase

# By kind: patterns of keys. --ignore adds to them, and the last line of a comparison then says so.
IGNORED = {
    "metrics": {
        "seconds": "time on the clock",
        "*/seconds": "its standard deviation and difference among an objective's runs",
    },
    "histories": {
        "seconds": "time on the clock",
        "*/seconds": "its standard deviation and difference among an objective's runs",
    },
    "tags": {
        "lossbench.process": "the process that wrote the run",
        "lossbench.sweep": "the id of the sweep's run; the parent of every run is compared by its name",
        "lossbench.command": "holds the path of the folder",
    },
    "columns": {"seconds": "time on the clock, in leaderboard.csv"},
    "config": {
        "paths.*": "the checkout and the folder that runs write to",
        "tracking.parent": "the id of a run; the parent of every run is compared by its name",
        "tracking.sweep": "the id of the sweep's run",
    },
    "model": {"config.*": "the run's config, compared as config.yaml"},
}

# Recorded, and never read.
NOT_READ = {
    "tags but lossbench.*": "MLflow's own, the git commit, versions of packages, and the note, which has seconds in it",
    "the dataset's source": "names the module of its class; its name, digest, schema and profile are compared",
    "leaderboard.json": "what leaderboard.csv says, for MLflow's interface",
    "report.html, figures/*": "hold dates and ids; they are drawn from what is compared",
    "superseded and deleted runs": "of a sweep that went on after a kill the final state counts",
}


def is_ignored(kind: str, key: str) -> bool:
    """Whether a key of this kind is one that differs from run to run."""
    return any(fnmatchcase(key, pattern) for pattern in IGNORED.get(kind, ()))


def explained() -> str:
    """Return what is not compared, line by line, with reasons."""
    lines = [f"  {kind} {key}: {reason}" for kind, keys in IGNORED.items() for key, reason in keys.items()]
    return "\n".join([*lines, *(f"  {what}: {reason}" for what, reason in NOT_READ.items())])
