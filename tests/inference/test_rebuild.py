"""A file may name the parts of a model and nothing else: whatever could run code is refused with one line."""

from __future__ import annotations

import io
import os
import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lossbench.errors import UserError
from lossbench.inference import model_file
from lossbench.inference.rebuild import rebuild
from lossbench.objective.losses.focus import Focal


def test_parts_are_built_as_hydra_would() -> None:
    focal = rebuild({"_target_": "lossbench.objective.losses.focus.Focal", "gamma": 3}, "loss")
    assert isinstance(focal, Focal)
    assert focal.gamma == 3
    partial = rebuild({"_target_": "torch.nn.Linear", "_partial_": True, "in_features": 2}, "model")
    assert partial(out_features=3).weight.shape == (3, 2)
    nested = rebuild({"_target_": "torch.nn.Sequential", "_args_": [{"_target_": "torch.nn.ReLU"}]}, "model")
    assert isinstance(nested[0], nn.ReLU)
    huber = {"_target_": "torch.nn.functional.huber_loss", "_partial_": True, "delta": 2.0}
    assert rebuild([huber, 1], "loss")[0].keywords == {"delta": 2.0}


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "subprocess.run",
        "torch.os.system",  # found under torch, and no part of it
        "torch.hub.load",
        "torch.load",
        "torch.ops.load_library",
        "torch.utils.cpp_extension.load",
        "torch.jit.load",
        "torch.nn.functional.importlib.import_module",
        "lossbench.cli.main.main",
        "lossbench.experiment.run",
        "lossbench.inference.rebuild.importlib.import_module",
        "lossbench.tracking.served.Served",
    ],
)
@pytest.mark.parametrize("wrap", [lambda node: node, lambda node: {"parts": [{"deep": node}]}], ids=["plain", "nested"])
def test_code_is_refused_unless_the_user_trusts_the_file(target: str, wrap: Any, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    with pytest.raises(UserError, match="no part of lossbench or torch.*--trust"):
        rebuild(wrap({"_target_": target, "command": f"touch {touched}"}), "loss")
    assert not touched.exists()


def test_a_foreign_package_is_not_even_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "intruder.py").write_text(
        f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()\ndef made(): return 7"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"loss names 'intruder.made'"):
        rebuild({"_target_": "intruder.made"}, "loss")
    assert not (tmp_path / "ran").exists()
    assert rebuild({"_target_": "intruder.made"}, "loss", trust=True) == 7


def test_what_is_refused_of_torch_is_not_imported_either(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("importlib.import_module", asked.append)
    for target in (
        "torch.utils.collect_env.main",
        "torch.testing._internal.common_utils.run_tests",
        "torch.nnx.Linear",
    ):
        with pytest.raises(UserError, match="no part of lossbench or torch"):
            rebuild({"_target_": target}, "loss")
    assert asked == []


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"_target_": 7}, "loss needs a dotted name as its _target_, got 7"),
        ({"_target_": "torch.nn.Linear; import os"}, "needs a dotted name"),
        ({"_target_": "torch.nn.NoSuchLayer"}, "which cannot be found"),
        ({"_target_": "torch.nn.Linear", "width": 2}, "torch.nn.Linear refuses its arguments"),
    ],
)
def test_what_cannot_be_built_says_why(node: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as refused:
        rebuild(node, "loss")
    assert "\n" not in str(refused.value)


class Payload:
    """What an attacker's pickle would hold."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_a_hostile_file_does_not_run(form: str, tmp_path: Path) -> None:
    file, touched = tmp_path / "model.pt", tmp_path / "touched"
    content = {"format": model_file.FORMAT, "config": Payload(touched)}
    if form == "pickle":
        file.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(UserError, match=r"model.pt is refused: it (names '(posix|nt).system'|holds more)") as refused:
        model_file.load(file)
    assert "\n" not in str(refused.value)
    assert not touched.exists()
    with suppress(RuntimeError):  # the payload is a live one, although torch dislikes the rest of a plain pickle
        torch.load(file, weights_only=False)
    assert touched.exists()


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"no model at all"], ids=["empty", "broken", "text"])
def test_a_broken_file_says_so(data: bytes) -> None:
    with pytest.raises(UserError, match="the file (is no model file|is refused)"):
        model_file.load(io.BytesIO(data), "the file")


def test_another_format_says_so() -> None:
    buffer = io.BytesIO()
    torch.save({"format": 0}, buffer)
    buffer.seek(0)
    with pytest.raises(UserError, match=r"the file is no model of format \d+"):
        model_file.load(buffer, "the file")
