"""The catalogue of faults: each ends in one clear line, the right exit status, a truthful record and no lost data.

The table of all of them (fault, message, exit status, runs kept) is printed after the tests, by `pytest -s`.
"""

from __future__ import annotations

import errno
import io
import os
import re
import resource
import signal
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from commands import TINY, Command, Ended
from lossbench.tracking.store.open import open_store

TABLE = "\n".join(["a,b,y", *(f"{i % 7},{i % 5},{'yes' if i % 3 else 'no'}" for i in range(90))])
TABULAR = ("data=table", "data.path=table.csv", "data.target=y", "trainer.max_epochs=2")
MINE = """
import torch
from torch import nn

def per_row(scores, target):
    return nn.functional.binary_cross_entropy_with_logits(scores, target, reduction="none")

def nan(scores, target):
    return per_row(scores, target) * float("nan")

def mean(scores, target):
    return per_row(scores, target).mean()

def twice(scores, target):
    return torch.cat([per_row(scores, target)] * 2)

def detached(scores, target):
    return per_row(scores.detach(), target)

def constant(scores, target):
    return torch.ones(len(target))

def text(scores, target):
    return "a loss"

def raising(scores, target):
    raise RuntimeError("it raises")

def interrupted(scores, target):
    raise KeyboardInterrupt

def leaving(scores, target):
    raise SystemExit(3)

def changing(scores, target):
    if scores.requires_grad:
        with open("table.csv", "a") as table:
            table.write("\\n99,99,yes")
    return per_row(scores, target)

def exploding(scores, target):
    return per_row(scores, target) * 1e38 * 1e10

class Wide(nn.Module):
    def __init__(self, task):
        super().__init__()
        self.layer = nn.Linear(task.n_features, 7)
    def forward(self, x):
        return self.layer(x)

class Narrow(Wide):
    def forward(self, x):
        return self.layer(x)[:, 0]

class NoParameters(nn.Module):
    def __init__(self, task):
        super().__init__()
    def forward(self, x):
        return x[:, :1]
"""


class Fault(NamedTuple):
    """What is wrong, what is typed, and how it has to end: words of the message, exit status, statuses of the runs."""

    name: str
    arguments: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    status: int = 2
    kept: tuple[str, ...] = ()
    around: str = ""  # the name of a context that makes the fault


def mine(function: str, *arguments: str) -> tuple[str, ...]:
    return ("loss=mine", f"loss.function.path=mine_for_faults.{function}", *TINY, *arguments)


def net(name: str) -> tuple[str, ...]:
    return ("model=theirs", f"model._target_=mine_for_faults.{name}", *TINY)


FAILED, FINISHED = ("FAILED",), ("FINISHED",)
FAULTS = [
    # Config
    Fault("unknown key", ("los.gamma=3",), ("los.gamma", "no such key")),
    Fault("unknown key in a group", ("trainer.max_epoch=3",), ("trainer.max_epoch", "max_epochs")),
    Fault("unknown choice", ("loss=focl",), ("loss=focl", "did you mean focal?")),
    Fault("unknown group", ("losss=focal",), ("losss",)),
    Fault("a group that is missing", ("~loss",), ("loss is missing",)),
    Fault("a group without a choice", ("optimizer=null",), ("Config group", "NoneType")),
    Fault("a number for a group", ("compare=3",), ("compare", "group of keys", "3")),
    Fault("a sweep with a number for a group", ("-m", "select=3"), ("select", "group of keys", "3")),
    Fault("a key that is missing", ("~select.min_delta",), ("select.min_delta", "missing")),
    Fault("a list for a choice", ("data=[null]",), ("config",)),
    Fault("null for a group of a sweep", ("-m", "callbacks=null"), ("config", "NoneType")),
    Fault("letters that move the cursor", ("ö\x1eb\x1b[31m=1",), ("\\x1b[31m", "cannot be read")),
    Fault("a name with a dot", ("+regularizer={a.b:{x:1}}",), ("regularizer", "a.b")),
    Fault("threads beyond all numbers", (f"training.threads={10**30}",), ("training.threads", "at most")),
    Fault("an integer beyond all numbers", (f"loss.ignore_index={10**30}",), ("loss", "int")),
    Fault("a list for a checkpoint", ("ckpt_path=[1]",), ("ckpt_path", "[1]")),
    Fault("a list for a metric to compare by", ("-m", "compare.metric=[1]"), ("compare.metric", "[1]")),
    Fault("a sweep's own key that is no text", ("job.sweep={a:1}",), ("job.sweep", "'a'")),
    Fault("a number for the paths", ("paths=3",), ("paths",)),
    Fault("a number for a logger's name", ("hydra.verbose=[1]",), ("config", "logger")),
    Fault("a list for a setting of the trainer", ("trainer.gradient_clip_val=[1]",), ("trainer",)),
    Fault("flags of a component that are none", ("++scheduler._partial_._partial_=1",), ("scheduler",)),
    Fault("an override without end", (f"seed={'x' * 5000}",), ("seed", " ... ")),
    Fault("missing value", ("data=table", "data.target=y"), ("data.path", "needs a value")),
    Fault("text for a number", ("trainer.max_epochs=ten",), ("trainer.max_epochs", "'ten'")),
    Fault("negative epochs", ("trainer.max_epochs=-1",), ("trainer.max_epochs", "-1")),
    Fault("boolean for a seed", ("seed=true",), ("seed is an integer", "True")),
    Fault("fraction for a seed", ("seed=1.5",), ("seed", "1.5")),
    Fault("negative hyperparameter", ("loss=focal", "loss.gamma=-1"), ("gamma", "-1")),
    Fault("infinite hyperparameter", ("loss=focal", "loss.gamma=inf"), ("gamma", "inf")),
    Fault("list for a number", ("loss=focal", "loss.gamma=[1]"), ("gamma",)),
    Fault("null for a number", ("optimizer.lr=null", *TINY), ("lr",)),
    Fault("negative learning rate", ("optimizer.lr=-1", *TINY), ("learning rate", "-1")),
    Fault("cyclic interpolation", ("seed=${data.source_seed}",), ("seed", "itself")),
    Fault("interpolation of nothing", ("seed=${nothing}",), ("nothing",)),
    Fault("unknown resolver", ("seed=${magic:1}",), ("magic",)),
    Fault("unquoted special characters", ("tracking.experiment=a=b",), ("tracking.experiment=a=b", "quotes")),
    Fault("an override without a value", ("seed",), ("seed",)),
    Fault("a class that is not there", ("loss._target_=no.such.Loss",), ("no.such.Loss",)),
    Fault("a function that is not there", mine("nothing"), ("nothing",)),
    Fault("an argument that is not there", ("+loss.nothing=1",), ("nothing",)),
    Fault("a target that is no loss", ("loss._target_=builtins.dict",), ("loss",)),
    Fault("unknown metric to select by", ("select.metric=val/nothing",), ("select.metric", "val/nothing")),
    Fault("a test metric to select by", ("select.metric=test/auroc",), ("select.metric", "test/auroc")),
    Fault("patience of the wrong type", ("select.patience=soon",), ("patience", "soon")),
    Fault("unknown precision", ("trainer.precision=8",), ("trainer.precision", "8")),
    Fault("an accelerator that is not there", ("trainer=gpu",), ("trainer",)),
    Fault("unknown argument of the trainer", ("+trainer.magic=1",), ("magic",)),
    Fault("callback without a class", ("+callbacks.mine.x=1",), ("callbacks", "_target_")),
    Fault(
        "a weighting given twice", ("loss=focal", "loss.alpha=0.75", "weighting=balanced"), ("class weight of its own",)
    ),
    Fault("threads of the wrong type", ("training.threads=0",), ("training.threads", "0")),
    Fault("history of the wrong type", ("tracking.history=sometimes",), ("tracking.history", "sometimes")),
    Fault("a checkpoint that is not there", ("ckpt_path=nothing.ckpt", *TINY), ("ckpt_path", "nothing.ckpt")),
    Fault("a checkpoint that is none", ("ckpt_path=table.csv", *TINY), ("table.csv",)),
    Fault("an empty sweep", ("-m", "seed=range(0)"), ("sweep",)),
    Fault("a wrong job among right ones", ("-m", "loss=focal,brier", "seed=0,x", *TINY), ("job 1", "seed")),
    Fault("a baseline that is not there", ("-m", "loss=focal", "compare.baseline=brier", *TINY), ("compare.baseline",)),
    Fault("a negative rope", ("-m", "loss=focal", "compare.rope=-1", *TINY), ("rope", "-1")),
    Fault("a sweep to resume that is not there", ("-m", "sweep.resume=abcdef12", *TINY), ("sweep",)),
    Fault("a comparison that is not there", ("comparison=nothing",), ("comparison=nothing", "no such choice")),
    Fault("a broken YAML of one's own", ("loss=broken",), ("broken",)),
    Fault("an unknown flag", ("--nothing",), ("--nothing",)),
    # Data
    Fault("no such table", ("data=table", "data.path=nothing.csv", "data.target=y"), ("nothing.csv",)),
    Fault("an empty table", TABULAR, ("table.csv",), around="empty_table"),
    Fault("a table of names alone", TABULAR, ("table.csv",), around="headers_only"),
    Fault("one class", TABULAR, ("class",), around="one_class"),
    Fault("no such column", ("data=table", "data.path=table.csv", "data.target=z"), ("'z'",)),
    Fault("infinite values", TABULAR, ("infinite",), around="infinite"),
    Fault("binary rubbish as a table", TABULAR, ("table.csv",), around="rubbish"),
    Fault(
        "truncated Parquet", ("data=table", "data.path=t.parquet", "data.target=y"), ("t.parquet",), around="parquet"
    ),
    Fault("a table that may not be read", TABULAR, ("table.csv", "ermission denied"), around="unreadable"),
    Fault("a table larger than memory", TABULAR, ("table.csv", "memory"), around="large"),
    Fault("a draw larger than memory", ("data.negatives=1000000000000",), ("data", "memory")),
    Fault(
        "a table that changes under the sweep",
        (
            "-m",
            "hydra/launcher=basic",
            *TABULAR,
            "loss=mine",
            "loss.function.path=mine_for_faults.changing",
            "seed=0,1",
        ),
        ("table.csv", "changed while the sweep ran"),
        1,
        FINISHED * 2,
    ),
    Fault("a folder as a table", ("data=table", "data.path=conf", "data.target=y"), ("conf",)),
    Fault("too few rows", TABULAR, ("rows",), around="three_rows"),
    Fault("a fold that is not there", ("data=iris", "data.fold=9"), ("fold", "9")),
    Fault("no rows left to train on", ("data=iris", "data.val=0.6", "data.test=0.5"), ("val + test < 1",)),
    Fault("a batch of no row", ("data=iris", "data.batch_size=0"), ("batch_size", "0")),
    # What trains
    Fault("a loss of NaN", mine("nan"), ("nan",), 1, FAILED),
    Fault("a loss that overflows", mine("exploding"), ("became",), 1, FAILED),
    Fault("a mean where rows are wanted", mine("mean"), ("one value per row",)),
    Fault("a loss of the wrong length", mine("twice"), ("one value per row",)),
    Fault("a loss without a gradient", mine("detached"), ("grad",), 1, FAILED),
    Fault("a constant loss", mine("constant"), ("grad",), 1, FAILED),
    Fault("a loss that is no tensor", mine("text"), ("str",)),
    Fault("a loss that raises", mine("raising"), ("it raises",), 1, FAILED),
    Fault("a loss that is interrupted", mine("interrupted"), ("interrupted",), 130),
    Fault("a loss that leaves", mine("leaving"), (), 3),
    Fault("a model of the wrong width", net("Wide"), ("7",)),
    Fault("a model of the wrong shape", net("Narrow"), ("scores",)),
    Fault("a model without parameters", net("NoParameters"), ("parameters",)),
    Fault("a learning rate that diverges", ("optimizer=sgd", "optimizer.lr=1e30", *TINY), ("became",), 1, FAILED),
    Fault(
        "a job of a sweep that fails",
        ("-m", *mine("raising,mine_for_faults.per_row")),
        ("1 of 2 jobs failed",),
        1,
        ("FAILED", "FINISHED"),
    ),
    Fault("a stack whose loss is NaN", ("-m", *mine("nan", "seed=0,1")), ("2 of 2 jobs failed",), 1, FAILED * 2),
    # The store
    Fault("a store in a file's place", ("paths.mlruns=table.csv", *TINY), ("table.csv",)),
    Fault("a store below a file", ("paths.mlruns=table.csv/mlruns", *TINY), ("table.csv",)),
    Fault("a store that may not be written", TINY, ("cannot be written",), around="read_only"),
    Fault("a database that is none", ("paths.mlruns=other", *TINY), ("cannot be used",), around="no_database"),
    Fault("another program's database", ("paths.mlruns=other", *TINY), ("is not MLflow's",), around="foreign_database"),
    Fault("a database of a newer MLflow", ("paths.mlruns=other", *TINY), ("newer MLflow",), around="newer_database"),
    Fault("an experiment that was deleted", ("tracking.experiment=gone", *TINY), ("is deleted",), around="deleted"),
    Fault("a database of an older MLflow", ("paths.mlruns=other", *TINY), ("older MLflow",), around="older_database"),
    Fault("two experiments of one name at once", ("tracking.experiment=raced", *TINY), (), 0, FINISHED, "raced"),
    Fault("a path that is too long", (f"paths.mlruns={'p' * 300}", *TINY), ("too long",)),
    Fault("MLflow's file store", ("tracking.uri=file:/somewhere", *TINY), ("tracking.uri",)),
    Fault("an unknown kind of store", ("tracking.uri=ftp://somewhere", *TINY), ("tracking.uri", "ftp")),
    Fault("a server that is not there", ("tracking.uri=http://127.0.0.1:9", *TINY), ("does not answer",)),
    Fault("a password in the address", ("tracking.uri=http://me:secret@127.0.0.1:9", *TINY), ("me:***@127.0.0.1",)),
    Fault("a driver that is not installed", ("tracking.uri=mysql+nothing://127.0.0.1:9/a", *TINY), ("127.0.0.1",)),
    Fault("a full disk while files are written", TINY, ("File too large",), 1, FAILED, "full_disk"),
    # Verbs
    Fault("compare what is not there", ("compare", "nothing_like_it"), ("nothing_like_it",)),
    Fault("an unknown option of a verb", ("compare", "--nothing"), ("--nothing",)),
    Fault("a port in use", ("ui", "--port", "{port}"), ("in use",), around="port"),
    Fault("a port out of range", ("ui", "--port", "99999"), ("port", "99999")),
    Fault("an address that is not ours", ("ui", "--host", "192.0.2.1"), ("192.0.2.1",)),
    # What is unusual, and not wrong
    Fault("a path with letters beyond ASCII and spaces", ("paths.mlruns='a store für ünï'", *TINY), (), 0, FINISHED),
    Fault("a very long name", (f"tracking.experiment={'n' * 200}", *TINY), (), 0, FINISHED),
    Fault("an experiment like code", ("'tracking.experiment=\"<b> $(ls)\"'", *TINY), (), 0, FINISHED),
    Fault("the clock goes back", TINY, (), 0, FINISHED, "clock"),
]


# What makes a fault, in the folder of a person


@contextmanager
def table(content: bytes) -> Iterator[None]:
    Path("table.csv").write_bytes(content)
    yield


@contextmanager
def parquet() -> Iterator[None]:
    import pandas as pd

    pd.read_csv("table.csv").to_parquet("whole.parquet")
    Path("t.parquet").write_bytes(Path("whole.parquet").read_bytes()[:-200])
    yield


@contextmanager
def read_only() -> Iterator[None]:
    # Root may write whatever its mode: what a read-only mount answers is what the system says of it.
    real = os.access

    def denied(path: Any, mode: int, **more: Any) -> bool:
        return not mode & os.W_OK and real(path, mode, **more)

    os.access = denied
    try:
        yield
    finally:
        os.access = real


@contextmanager
def unreadable() -> Iterator[None]:
    # Root may read whatever its mode: as with `read_only`, what the system answers to others.
    real = io.open

    def denied(file: Any, *arguments: Any, **more: Any) -> Any:
        if Path(str(file)).name == "table.csv":
            raise PermissionError(errno.EACCES, "Permission denied", str(file))
        return real(file, *arguments, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(io, "open", denied)
        patch.setattr("builtins.open", denied)
        yield


@contextmanager
def large() -> Iterator[None]:
    """No more memory than this process has, and some for the lines of a table: not for its columns."""
    Path("table.csv").write_text(TABLE + "\n" + "1,2,yes\n" * 4_000_000)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 60_000_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@contextmanager
def raced() -> Iterator[None]:
    """Another machine makes the experiment just after we have looked for it."""
    from lossbench.tracking.store.client import MlflowClient

    real = MlflowClient.create_experiment

    def late(self: MlflowClient, name: str, **more: Any) -> str:
        real(self, name, **more)
        return real(self, name, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MlflowClient, "create_experiment", late)
        yield


@contextmanager
def database(make: Callable[[Path], None]) -> Iterator[None]:
    Path("other").mkdir()
    make(Path("other/mlflow.db"))
    yield


def rubbish_file(file: Path) -> None:
    file.write_bytes(b"no database at all" * 100)


def foreign(file: Path) -> None:
    with closing(sqlite3.connect(file)) as other, other:
        other.execute("CREATE TABLE mine (a INT)")


def newer(file: Path) -> None:
    with closing(sqlite3.connect(file)) as other, other:
        other.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        other.execute("INSERT INTO alembic_version VALUES ('of the future')")


def older(file: Path) -> None:
    open_store(file.parent)
    with closing(sqlite3.connect(file)) as other, other:
        other.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")


@contextmanager
def deleted() -> Iterator[None]:
    store = open_store(Path(os.environ["FAULTS_MLRUNS"]), experiment="gone")
    store.client.delete_experiment(store.experiment_id)
    yield
    store.client.restore_experiment(store.experiment_id)


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond 1 kB: a run's small files fit, its predictions do not. sqlite's have grown before."""
    from lossbench.tracking.artifacts import Artifacts

    real = Artifacts.bytes

    def limited(self: Artifacts, data: bytes, path: str) -> None:
        if path != "model.pt":
            return real(self, data, path)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        try:
            return real(self, data, path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)

    Artifacts.bytes = limited
    try:
        yield
    finally:
        Artifacts.bytes = real


@contextmanager
def port() -> Iterator[None]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        os.environ["FAULTS_PORT"] = str(taken.getsockname()[1])
        yield


@contextmanager
def clock() -> Iterator[None]:
    from lossbench.tracking import run

    real, calls = run._milliseconds, iter(range(10**9))
    run._milliseconds = lambda: real() - 60_000 * next(calls)
    try:
        yield
    finally:
        run._milliseconds = real


AROUND: dict[str, Callable[[], Any]] = {
    "empty_table": lambda: table(b""),
    "headers_only": lambda: table(b"a,b,y\n"),
    "one_class": lambda: table(TABLE.replace("yes", "no").encode()),
    "infinite": lambda: table(TABLE.replace("\n3,", "\ninf,").encode()),
    "rubbish": lambda: table(bytes(range(256)) * 20),
    "three_rows": lambda: table("\n".join(TABLE.splitlines()[:4]).encode()),
    "parquet": parquet,
    "read_only": read_only,
    "no_database": lambda: database(rubbish_file),
    "foreign_database": lambda: database(foreign),
    "newer_database": lambda: database(newer),
    "older_database": lambda: database(older),
    "unreadable": unreadable,
    "large": large,
    "raced": raced,
    "deleted": deleted,
    "full_disk": full_disk,
    "port": port,
    "clock": clock,
}


@pytest.fixture(scope="module")
def mlruns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults") / "mlruns"
    open_store(folder)
    return folder


@pytest.fixture(scope="module")
def report() -> Iterator[list[tuple[str, str, int, str]]]:
    """Print the catalogue when its tests are over."""
    rows: list[tuple[str, str, int, str]] = []
    yield rows
    print("\n\nfault | message | exit status | runs kept")
    for fault, message, status, kept in rows:
        print(f"{fault} | {message} | {status} | {kept}")
    print(f"{len(rows)} faults")


@pytest.fixture
def command(command: Command, mlruns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run the console command beside configs, a module and a table of a person's own."""
    (tmp_path / "conf" / "loss").mkdir(parents=True)
    (tmp_path / "conf" / "model").mkdir()
    (tmp_path / "conf" / "loss" / "mine.yaml").write_text(
        "_target_: lossbench.objective.losses.external.External\n"
        "function: {_target_: hydra.utils.get_method, path: mine_for_faults.per_row}\n"
        "reads: scores\ntarget: indicator\n"
    )
    (tmp_path / "conf" / "loss" / "broken.yaml").write_text("_target_: [unclosed\n  gamma: }\n")
    (tmp_path / "conf" / "model" / "theirs.yaml").write_text("_target_: mine_for_faults.Wide\n_partial_: true\n")
    (tmp_path / "mine_for_faults.py").write_text(MINE)
    (tmp_path / "table.csv").write_text(TABLE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("FAULTS_MLRUNS", str(mlruns))
    monkeypatch.setattr("lossbench.sweep.reporting.keep_report", lambda store, record, found, explain: found)

    def run(*arguments: str) -> Ended:
        given = [argument.replace("{port}", os.environ.get("FAULTS_PORT", "")) for argument in arguments]
        if given[0] in ("compare", "ui"):
            given += ["--mlruns", str(mlruns)]
        elif not any("paths.mlruns" in argument for argument in given):
            given.append(f"paths.mlruns={mlruns}")
        return command(*given)

    return run


def runs_of(mlruns: Path) -> dict[str, str]:
    """The status of every job in a store."""
    file = mlruns / "mlflow.db"
    if not os.path.exists(file):  # not Path's own, which raises where a name is too long
        return {}
    with closing(sqlite3.connect(file)) as store:
        try:
            found = store.execute(
                "SELECT run_uuid, status FROM runs JOIN tags USING (run_uuid) WHERE key = 'lossbench.role' "
                "AND value = 'run'"
            )
            return dict(found.fetchall())
        except sqlite3.DatabaseError:
            return {}


@pytest.mark.parametrize("fault", FAULTS, ids=[re.sub(r"\W+", "-", fault.name) for fault in FAULTS])
def test_fault(
    fault: Fault, command: Command, mlruns: Path, report: list[tuple[str, str, int, str]], tmp_path: Path
) -> None:
    place = next(
        (Path(text.partition("=")[2].strip("'")) for text in fault.arguments if "paths.mlruns" in text), mlruns
    )
    before = runs_of(place)
    with AROUND[fault.around]() if fault.around else pytest.MonkeyPatch.context():
        arguments = [text.strip("'") if text.startswith("'") else text for text in fault.arguments]
        ended = command(*arguments)
    after = runs_of(place)
    kept = sorted(status for run, status in after.items() if run not in before)
    # argparse shows how a verb is used above its line.
    shown = (line for line in ended.err.splitlines() if line.strip() and not line.startswith(("usage:", "    ")))
    lines = [line for line in shown if "traceback=true" not in line]
    assert "Traceback" not in ended.err + ended.out, ended.err
    assert ended.status == fault.status, (ended.out, ended.err)
    assert kept == sorted(fault.kept)
    if fault.status not in (0, 3):
        assert len(lines) == 1, ended.err
        assert "lossbench" in lines[0]
        message = lines[0].partition(": ")[2]
        assert len(message) < 700, message
        for word in fault.words:
            assert word in message, message
        assert "secret" not in ended.err + ended.out
    else:
        message = lines[0] if lines else ""
    report.append((fault.name, message.replace(str(tmp_path), "."), ended.status, ", ".join(kept) or "none to keep"))


def test_the_catalogue_is_long_enough() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 60
