"""Losses that other packages publish run as they are, by a YAML alone: through the laws, and in training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from lossbench.objective.losses.divergence import Sparsemax
from lossbench.objective.losses.external import External
from lossbench.objective.losses.focus import Focal
from lossbench.objective.losses.likelihood import cross_entropy
from lossbench.objective.losses.overlap import Dice
from lossbench.testing.cases import find_cases
from lossbench.testing.laws import laws_of, obey

CONF = Path(__file__).parent / "conf" / "loss"
FILES = sorted(CONF.glob("*.yaml"))


def cases_of(path):
    package = yaml.safe_load(path.read_text())["function"]["_target_"].partition(".")[0]
    pytest.importorskip(package, reason=f"{package} is not installed: pip install lossbench[external]")
    return find_cases(path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_obeys_the_laws_unchanged(path):
    found = cases_of(path)
    for case in found:
        for law in laws_of("loss"):
            obey(law, case)


def test_the_packages_are_several():
    assert len({yaml.safe_load(path.read_text())["function"]["_target_"].partition(".")[0] for path in FILES}) >= 3


@pytest.mark.parametrize(
    ("name", "ours"),
    [("softmax_focal", Focal), ("balanced_cross_entropy", cross_entropy), ("mean_focal", Focal)],
)
def test_agrees_with_ours(name, ours):
    """For two classes; the published code is an independent reference."""
    case = cases_of(CONF / f"{name}.yaml")[0]
    loss, other = case.bound(), ours()
    other.bind(case.task)
    scores, target = case.scores(), case.target()
    torch.testing.assert_close(
        loss(case.predict(loss, scores), target), other(case.predict(other, scores), target), rtol=1e-6, atol=1e-8
    )


def test_sparsemax_agrees_with_ours():
    entmax = pytest.importorskip("entmax", reason="entmax is not installed: pip install lossbench[external]")
    loss, ours = External(entmax.SparsemaxLoss(reduction="none"), "logits", "index"), Sparsemax()
    case = cases_of(CONF / "entmax15.yaml")[1]
    scores, target = case.scores(), case.target()
    found = loss(case.predict(loss, scores), target)
    torch.testing.assert_close(found, ours(case.predict(ours, scores), target), rtol=1e-12, atol=1e-12)


def test_image_dice_agrees_with_ours():
    case = cases_of(CONF / "image_dice.yaml")[1]
    loss, ours = case.bound(), Dice(smoothing=0.0)
    ours.bind(case.task)
    scores, target = case.scores(), case.target()
    found = loss(case.predict(loss, scores), target)
    torch.testing.assert_close(found, ours(case.predict(ours, scores), target), rtol=1e-6, atol=1e-6)
