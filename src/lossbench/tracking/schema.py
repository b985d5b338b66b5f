"""The words of the record: every tag, role, status, file and metric key that lossbench writes to MLflow, each once.

What has been recorded is read back by these words, so a word that is changed here makes older runs unreadable.
"""

from __future__ import annotations

from typing import Final, Literal

RoleName = Literal["sweep", "objective", "run", "reference", "tuning", "trial"]
EndStatus = Literal["FINISHED", "FAILED", "KILLED"]


class Role:
    """What a run is to a reader, the value of `Tag.ROLE`."""

    SWEEP: Final = "sweep"
    OBJECTIVE: Final = "objective"
    RUN: Final = "run"
    REFERENCE: Final = "reference"
    TUNING: Final = "tuning"
    TRIAL: Final = "trial"


class Status:
    """MLflow's status of a run."""

    RUNNING: Final = "RUNNING"
    FINISHED: Final = "FINISHED"
    FAILED: Final = "FAILED"
    KILLED: Final = "KILLED"


class Tag:
    """Names of tags."""

    # Where a run stands, and what became of it.
    ROLE = "lossbench.role"
    SWEEP = "lossbench.sweep"
    OBJECTIVE = "lossbench.objective"
    PROCESS = "lossbench.process"
    ERROR = "lossbench.error"
    INFINITE = "lossbench.infinite"
    SUPERSEDED = "lossbench.superseded"
    # What a job is.
    FINGERPRINT = "lossbench.fingerprint"
    IDENTITY = "lossbench.identity"
    OBJECTIVE_FINGERPRINT = "lossbench.objective_fingerprint"
    JOB = "lossbench.job"
    OVERRIDES = "lossbench.overrides"
    SEED = "lossbench.seed"
    FOLD = "lossbench.fold"
    BATCH_ORDER = "lossbench.batch_order"
    RESUMED_FROM = "lossbench.resumed_from"
    ALONE = "lossbench.alone"
    # Its data.
    DATA = "lossbench.data"
    SEEDS = "lossbench.seeds"
    CLASSES = "lossbench.classes"
    POSITIVE = "lossbench.positive"
    ROW_WEIGHTS = "lossbench.row_weights"
    # What a sweep says of itself, for whoever compares its runs later.
    METRIC = "lossbench.metric"
    BASELINE = "lossbench.baseline"
    ROPE = "lossbench.rope"
    DIRECTION = "lossbench.direction"
    ADDED_METRICS = "lossbench.added_metrics"
    JOBS = "lossbench.jobs"
    JOBS_IDENTITY = "lossbench.jobs_identity"
    COMMAND = "lossbench.command"
    # The number of a tuning's trial; the run of an exported model.
    TRIAL = "lossbench.trial"
    RUN = "lossbench.run"
    # MLflow's own, which its pages read.
    PARENT = "mlflow.parentRunId"
    NAME = "mlflow.runName"
    NOTE = "mlflow.note.content"
    TABLES = "mlflow.loggedArtifacts"
    SOURCE_NAME = "mlflow.source.name"
    SOURCE_TYPE = "mlflow.source.type"
    COMMIT = "mlflow.source.git.commit"
    USER = "mlflow.user"
    CONTEXT = "mlflow.data.context"


def tagged(tag: str, value: str) -> str:
    """Return the clause of an MLflow filter that takes the runs with a tag of this value.

    >>> tagged(Tag.ROLE, Role.RUN)
    "tags.`lossbench.role` = 'run'"
    """
    return f"tags.`{tag}` = '{value}'"


def having_status(status: str) -> str:
    """Return the clause of an MLflow filter that takes the runs of a status."""
    return f"attributes.status = '{status}'"


OF_ANY_ROLE = f"tags.`{Tag.ROLE}` LIKE '%'"
# `run` and `reference` alone begin so; MLflow's filters know no OR.
OF_JOBS_AND_REFERENCES = f"tags.`{Tag.ROLE}` LIKE 'r%'"


def digest_tag(split: str) -> str:
    """Return the tag that says which rows a split has."""
    return f"lossbench.{split}_digest"


def rows_tag(split: str) -> str:
    """Return the tag that says how many rows a split has."""
    return f"lossbench.rows_{split}"


_VERSION = "version."


def version_tag(package: str) -> str:
    """Return the tag that holds the version of a package."""
    return f"{_VERSION}{package}"


def package_of(tag: str) -> str | None:
    """Return the package whose version a tag holds, or None for another tag.

    >>> package_of(version_tag("torch")), package_of(Tag.ROLE)
    ('torch', None)
    """
    return tag.removeprefix(_VERSION) if tag.startswith(_VERSION) else None


class Artifact:
    """Paths of the files that a run keeps."""

    # Of a job.
    CONFIG = "config.yaml"
    HISTORY = "history.csv"
    MODEL = "model.pt"
    PREDICTIONS = "predictions.parquet"
    UNDEFINED = "undefined.json"
    TRACEBACK = "traceback.txt"
    # Of a sweep.
    LEADERBOARD = "leaderboard.csv"
    LEADERBOARD_TABLE = "leaderboard.json"
    REPORT = "report.html"
    EXPLANATION = "explanation.json"
    LEFT_OUT = "left_out.json"
    NAMES_OF_DATA = "data.json"
    TUNING = "tuning.json"
    TRIALS = "trials.csv"


def figure_path(file: str) -> str:
    """Return the path under which a run keeps a figure."""
    return f"figures/{file}"


SELECTED_BY = "val/auroc"
JUDGED_BY = "test/auroc"


def key(split: str, name: str) -> str:
    """Return the key of a metric on a split, `<split>/[posterior/|tuned/]<name>[/<class>]`.

    >>> key("test", "auroc"), key("test", "tuned/f1")
    ('test/auroc', 'test/tuned/f1')
    """
    return f"{split}/{name}"


def split_of(key: str) -> str:
    """Return the split in a metric's key.

    >>> split_of("val/posterior/log_loss"), split_of("seconds")
    ('val', '')
    """
    return key.partition("/")[0] if "/" in key else ""


def name_of(key: str) -> str:
    """Return a metric's key without its split.

    >>> name_of("val/posterior/log_loss"), name_of("seconds")
    ('posterior/log_loss', 'seconds')
    """
    return key.partition("/")[2] or key
