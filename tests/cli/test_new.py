"""``lossbench new``: what it writes works as it is, and nothing is overwritten."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lossbench.cli.main import dispatch
from lossbench.cli.new import GROUPS
from lossbench.testing.cases import find_cases
from lossbench.testing.laws import laws_of, obey


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in [name for name, module in sys.modules.items() if str(tmp_path) in str(getattr(module, "__file__", ""))]:
        del sys.modules[name]


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*.*") if path.is_file()}


@pytest.mark.parametrize("arguments", [*((kind, f"steep_{kind}") for kind in GROUPS), ("loss", "steep9", "--class")])
def test_what_it_writes_obeys_the_laws(folder, capsys, arguments):
    kind, name = arguments[:2]
    assert dispatch(["new", *arguments]) == 0
    out = capsys.readouterr().out
    written = files(folder)
    assert set(written) == {f"{name}.py", f"conf/{GROUPS[kind]}/{name}.yaml", f"tests/test_{name}.py"}
    assert not [text for text in written.values() if "my_" in text.replace("my_package", "") or "My" in text]
    assert f"wrote conf/{GROUPS[kind]}/{name}.yaml" in out
    assert f"lossbench {GROUPS[kind]}={name}" in out
    found = find_cases(folder / "conf" / GROUPS[kind] / f"{name}.yaml")
    for law in laws_of(GROUPS[kind]):
        obey(law, found[0])
    assert name in yaml.safe_dump(found[0].config) or "Steep" in yaml.safe_dump(found[0].config)


def test_its_test_runs_with_the_plugin(folder):
    assert dispatch(["new", "metric", "steep_metric"]) == 0
    accuracy = "def steep_metric(y_true, labels, cost=5.0):\n    return (labels == y_true).mean()\n"
    (folder / "steep_metric.py").write_text(accuracy)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": ""},
        check=False,
    )
    assert done.returncode == 1, done.stdout
    assert "metrics/steep_metric for 2 classes breaks the law `says which way is better`: " in done.stdout
    assert "higher_is_better=False, but steep_metric is" in done.stdout
    assert "passed" in done.stdout


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("loss", "My-Loss", "a name has lower-case letters, digits and underscores, a letter first"),
        ("loss", "2nd", "got '2nd'"),
        ("model", "class", "is no word of Python's, got 'class'"),
        ("loss", "focal", "loss=focal is lossbench's own, choose another name"),
        ("data", "rings", "data=rings is lossbench's own"),
        ("metric", "random", "a module 'random' is installed and would be imported in its place"),
    ],
)
def test_refuses_names_that_cannot_work(folder, capsys, kind, name, message):
    assert dispatch(["new", kind, name]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1
    assert files(folder) == {}


def test_overwrites_nothing(folder, capsys):
    (folder / "tests").mkdir()
    (folder / "tests" / "test_steep.py").write_text("mine\n")
    assert dispatch(["new", "loss", "steep"]) == 2
    assert "tests/test_steep.py: there already, and nothing was written" in capsys.readouterr().err
    assert files(folder) == {"tests/test_steep.py": "mine\n"}
    with pytest.raises(OSError):
        Path("steep.py").read_text()


def test_class_is_for_losses(folder, capsys):
    assert dispatch(["new", "model", "steep", "--class"]) == 2
    assert "--class goes with a loss" in capsys.readouterr().err
