"""A component that breaks a law is told which one, at which setting and values; one that obeys is left alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lossbench.errors import UserError
from lossbench.testing.cases import find_cases
from lossbench.testing.checks import LawBroken, check_close, check_finite, check_gradient, check_refuses
from lossbench.testing.laws import KINDS, laws_of, obey

CONF = Path(__file__).parents[2] / "conf"
BROKEN = """
import torch


def mean_of_batch(y_pred, y_true):
    return (y_pred - y_true).square() / len(y_pred)


def without_a_slope(y_pred, y_true):
    return (y_pred.detach() - y_true).square()


def logarithm(y_pred, y_true):
    return -(y_true * y_pred.log() + (1 - y_true) * (1 - y_pred).log())


def positives_alone(y_pred, y_true):
    return y_true * (1 - y_pred)
"""


def case_of(folder, function, facts="", task="two"):
    (folder / "conf" / "loss").mkdir(parents=True)
    (folder / "broken_losses.py").write_text(BROKEN)
    path = folder / "conf" / "loss" / "broken.yaml"
    path.write_text(
        "_target_: lossbench.objective.losses.external.External\n"
        f"function: {{_target_: broken_losses.{function}, _partial_: true}}\n"
        f"reads: positive_prob\ntarget: indicator\n{facts}"
    )
    (found,) = [case for case in find_cases(path) if case.task_name == task]
    return found


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("broken_losses", None)


@pytest.mark.parametrize(
    ("function", "facts", "law", "values"),
    [
        ("mean_of_batch", "", "rows_do_not_mix", r"value in a batch, against the row alone: [\d.]+ at \[0\], expected"),
        ("without_a_slope", "", "gradient", "at random scores, .*the value has no gradient"),
        (
            "logarithm",
            "",
            "finite_in_float32",
            r"value nan at scores \[-1000.0\] for class 0, within finite_scores=1000",
        ),
        ("positives_alone", "", "renaming_classes", "symmetric_in_classes=True, value with the classes renamed"),
        ("positives_alone", "proper: true", "proper_exactly_where_claimed", "proper=True, but its minimum is off by"),
        ("logarithm", "", "proper_exactly_where_claimed", "proper=False, but its minimum is off by"),
        ("positives_alone", "posterior: gradient", "posterior_recovers_skewed_truths", "posterior='gradient'"),
        ("logarithm", "needs: [parameters]", "states_consistent_facts", "needs .*parameters"),
        ("logarithm", "pointwise: false", "shape_and_dtype", r"per batch, got shape \(7, 1\)"),
    ],
)
def test_names_the_law_and_the_values(folder, function, facts, law, values):
    case = case_of(folder, function, facts)
    (broken,) = [each for each in laws_of("loss") if each.__name__ == law]
    with pytest.raises(LawBroken, match=values) as told:
        obey(broken, case)
    assert str(told.value).startswith(f"loss/broken for 2 classes breaks the law `{law.replace('_', ' ')}`: ")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("kind", KINDS)
def test_laws_are_found_in_the_order_of_their_module(kind):
    names = [law.__name__ for law in laws_of(kind)]
    assert len(names) >= 4
    assert all(not name.startswith("_") for name in names)


def test_refuses_what_is_not_there(tmp_path):
    with pytest.raises(UserError, match="there are laws for loss, weighting, .*, got 'optimizer'"):
        laws_of("optimizer")
    with pytest.raises(UserError, match=r"no YAML matches .*none\.yaml"):
        find_cases(tmp_path / "conf" / "loss" / "none.yaml")
    with pytest.raises(UserError, match="variants of fokal, of which"):
        find_cases(CONF / "loss" / "focal.yaml", {"fokal": [{"gamma": 0}]})


def test_a_case_names_its_setting():
    found = find_cases(CONF / "loss" / "focal.yaml", {"focal": [{"gamma": 0.5}]})
    assert [str(case) for case in found] == ["focal-two", "focal-four", "focal-gamma=0.5-two", "focal-gamma=0.5-four"]
    assert found[2].described == "loss/focal at gamma=0.5 for 2 classes"
    assert found[2].bound().gamma == 0.5


def test_checks_speak_in_values():
    with pytest.raises(LawBroken, match=r"it: 2 at \[1\], expected 3"):
        check_close(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0]), "it")
    with pytest.raises(LawBroken, match=r"shape \(1,\) and torch.float32, expected \(2,\) and torch.float32"):
        check_close(torch.ones(1), torch.ones(2), "it")
    with pytest.raises(LawBroken, match=r"it: nan at \[0\]"):
        check_close(torch.tensor([torch.nan]), torch.tensor([torch.nan]), "it")
    with pytest.raises(LawBroken, match=r"it: inf at \[\]"):
        check_finite(torch.tensor(torch.inf), "it")
    with pytest.raises(LawBroken, match="it: the gradient is not the slope"):
        check_gradient(lambda x: x * x.detach(), (torch.ones(2, dtype=torch.float64, requires_grad=True),), "it")
    with pytest.raises(LawBroken, match="it: not refused by a ValueError"):
        check_refuses(int, ValueError, "", "it")
    with pytest.raises(LawBroken, match="the refusal reads 'no', expected 'yes'"):
        check_refuses(lambda: (_ for _ in ()).throw(ValueError("no")), ValueError, "yes", "it")


def test_laws_need_no_pytest():
    code = (
        "import sys; sys.modules['pytest'] = None; from lossbench.testing.laws import KINDS, laws_of;"
        "print(*(len(laws_of(kind)) > 3 for kind in KINDS))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"] * len(KINDS)
