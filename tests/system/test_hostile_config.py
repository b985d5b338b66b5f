"""Whatever is typed as a config ends in one line and an exit status: random keys and choices with hostile values.

What this has found has a place of its own in the catalogue of faults, tests/system/survival/test_faults.py.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import json
import os
import signal
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from commands import Command, Ended, run_command
from lossbench.config.compose import compose
from lossbench.config.identity import flatten
from lossbench.tracking.store.open import open_store

CONF = Path(__file__).parents[2] / "conf"
TINY = ("trainer.max_epochs=1", "data.test_rows=60", "data.negatives=80", "data.positives=20", "tracking.predictions=5")
# Values that mean work: a billion epochs are no mistake, and no test.
WORK = ("trainer.max_epochs", "trainer.devices", "hydra.launcher.processes", "tuning.")

SCALARS = [
    *("null", "true", "false", "0", "1", "-1", "2", "0.5", "-0.0", "1e-300", "1e300", "nan", "inf", "-inf"),
    *("9223372036854775808", "1000000000000000000000000000000", "1_000", "0x10", "1e400", "'1'", '"0.1"', "''", '""'),
    *("abc", "val/auroc", "test/auroc", "every", "none", "loss", "ten", "${seed}", "${loss}", "${nothing}"),
    *(
        "${seed",
        "$",
        "\\",
        "'",
        '"',
        "{",
        "}",
        "[",
        "]",
        "(",
        ")",
        ",",
        ":",
        "=",
        "a=b",
        "a,b",
        "#",
        "%s",
        "{0}",
        "???",
    ),
    *("${oc.env:HOME}", "${oc.env:NOTHING}", "${oc.decode:nan}", "${magic:1}", "${data.path}", "${.}", "${..}"),
    *("'ünïcödé'", "ünïcödé", "'\u202e'", "'\x00'", "'\n'", "'\t'", "🔥", "'🔥'", "' '", "'[bold]'", "'[/]'", "'<b>'"),
    *("'" + "x" * 300 + "'", "x" * 5000, "-", "--", "~", "+", "@", "!", "!!python/object:os.system", "&a", "*a"),
    *("2026-11-25", "12:30:00", "no", "off", "y", "mlp", "l2", "choice(1,2)", "range(3)", "glob(*)", "shuffle(1)"),
]
NESTED = [
    *("[]", "{}", "[1]", "[1,2,3]", "[[1]]", "[null]", "{a:1}", "{a:{b:[1,{c:null}]}}", "[-1]", "[0]", "[nan]", "[a]"),
    *("{_target_:nothing.at.All}", "{_target_:builtins.dict}", "{_target_:torch.nn.Linear}", "{_target_:null}"),
    *("{_target_:torch.nn.ReLU,_partial_:true}", "{_partial_:true}", "{_target_:[1]}", "[{a:1},{a:2}]", "{1:2}"),
    *("[" * 40 + "]" * 40, "[" * 40, "{a:" * 20 + "1" + "}" * 20),
]
PREFIXES = ("", "", "", "", "", "+", "++", "~")


@functools.cache
def keys() -> list[str]:
    """Every key of the composed configs of some choices, and every group."""
    found: set[str] = set()
    for choices in ([], ["data=iris", "loss=focal", "regularizer=[l1,l2]"], ["optimizer=sgd", "scheduler=cosine"]):
        config = compose(choices)
        found |= {key for key, _ in flatten(config)} | set(config) | set(config["choices"])
    found |= {"hydra.run.dir", "hydra.job.name", "hydra.verbose", "hydra.mode", "hydra.sweep.subdir", "data.fold"}
    return sorted(key for key in found if not key.startswith(("choices", "paths", "tuning", "debug", "tracking.uri")))


@functools.cache
def choices() -> list[str]:
    """Every choice of every group that is quick to train with the rings."""
    groups = ("loss", "weighting", "regularizer", "optimizer", "scheduler", "model")
    return [f"{group}={file.stem}" for group in groups for file in sorted((CONF / group).glob("*.yaml"))]


def overrides() -> st.SearchStrategy[str]:
    """One argument, hostile or not."""
    text = st.text(st.characters(blacklist_categories=["Cs"]), max_size=12)
    value = st.one_of(st.sampled_from(SCALARS), st.sampled_from(SCALARS), st.sampled_from(NESTED), text)
    key = st.sampled_from(keys())
    wild = st.builds(lambda prefix, key, value: f"{prefix}{key}={value}", st.sampled_from(PREFIXES), key, value)
    name = st.sampled_from(["a", "0", "_target_", "_partial_"])
    inside = st.builds(lambda key, name, value: f"++{key}.{name}={value}", key, name, value)
    return st.one_of(wild, wild, wild, wild, wild, st.sampled_from(choices()), inside, text)


def commands() -> st.SearchStrategy[list[str]]:
    """Arguments of one command."""
    return st.builds(
        lambda given, many: (["-m"] if many else []) + given,
        st.lists(overrides(), min_size=1, max_size=2),
        st.integers(0, 9).map(lambda number: number == 0),
    ).filter(harmless)


def harmless(arguments: list[str]) -> bool:
    """Whether a command neither works for ever nor writes outside of its folder."""
    for argument in arguments:
        key, _, value = argument.lstrip("+~").partition("=")
        if key.startswith(WORK) and value.strip("'\"").replace("_", "").isdigit() and len(value) > 1:
            return False
        if key.startswith(WORK) and any(letter in value for letter in "xe$"):
            return False
        # Verbs and flags are not configs, and some of them stay.
        if (argument.startswith("-") and argument != "-m") or ("=" not in argument and argument.isidentifier()):
            return False
    return True


def complaint(ended: Ended) -> str | None:
    """Return what is wrong with how a command ended."""
    if "Traceback" in ended.err + ended.out:
        return "a traceback"
    if ended.status not in (0, 1, 2):
        return f"status {ended.status}"
    lines = [line for line in ended.err.splitlines() if line.strip() and "traceback=true shows where" not in line]
    if ended.status and len(lines) != 1:
        return f"{len(lines)} lines"
    if ended.status and not lines[0].startswith("lossbench: "):
        return "a line of somebody else's"
    if ended.status and len(lines[0]) > 750:
        return f"a line of {len(lines[0])} letters"
    return None


class Overtime(BaseException):
    """A command took too long."""


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Run commands in this process, in a folder of their own, with a limit of time."""
    folder = tmp_path_factory.mktemp("hostile")
    open_store(folder / "mlruns")
    importlib.import_module("lossbench.training.lightning.trainer")  # seconds, which are not a command's

    def late(signum: int, frame: object) -> None:
        raise Overtime

    def run(*arguments: str) -> Ended:
        given = [*TINY, *arguments, f"paths.mlruns={folder / 'mlruns'}"]
        given = ["-m", *(text for text in given if text != "-m")] if "-m" in given else given
        here = Path.cwd()
        out, err = io.StringIO(), io.StringIO()
        os.chdir(folder)
        before = signal.signal(signal.SIGALRM, late)
        signal.alarm(120)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                status = run_command(*given)
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)
            os.chdir(here)
        return Ended(status, out.getvalue(), err.getvalue())

    return run


EASY = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))


def require_one_line(command: Command, arguments: list[str]) -> None:
    ended = command(*arguments)
    assert complaint(ended) is None, json.dumps([complaint(ended), arguments, ended.err[-2000:]], indent=1)


@settings(EASY, max_examples=30, derandomize=True)
@given(arguments=commands())
def test_whatever_is_typed_ends_in_one_line(command: Command, arguments: list[str]) -> None:
    require_one_line(command, arguments)


@pytest.mark.slow(sample=False)
@settings(EASY, max_examples=1000)
@given(arguments=commands())
def test_much_that_is_typed_ends_in_one_line(command: Command, arguments: list[str]) -> None:
    require_one_line(command, arguments)
