"""Which parameters decay, which have settings of their own, and what is refused."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from lossbench.errors import UserError
from lossbench.models.class_prior import ClassPrior
from lossbench.models.mlp import Mlp
from lossbench.objective.losses.external import External
from lossbench.objective.losses.likelihood import cross_entropy
from lossbench.training.optimizer import build_optimizer

NORMALISED = partial(Mlp, widths=(5, 4), normalization="layer")
MATRICES = {"body.0.weight", "body.3.weight", "head.weight"}


def settings(job, key):
    """Return one setting of the optimizer by parameter name."""
    optimizer = build_optimizer(job)
    names = {id(parameter): name for name, parameter in job.network.named_parameters()}
    return {names[id(p)]: group[key] for group in optimizer.param_groups for p in group["params"] if id(p) in names}


def test_weights_alone_decay(make_job) -> None:
    job = make_job(model=NORMALISED, optimizer=partial(torch.optim.SGD, lr=0.1, weight_decay=0.2))
    decays = settings(job, "weight_decay")
    assert decays.keys() == dict(job.network.named_parameters()).keys()
    assert {name for name, decay in decays.items() if decay == 0.2} == MATRICES
    assert {decay for name, decay in decays.items() if name not in MATRICES} == {0.0}


def test_all_decays_all(make_job) -> None:
    optimizer = partial(torch.optim.SGD, lr=0.1, weight_decay=0.2)
    job = make_job(model=NORMALISED, optimizer=optimizer, decay_on="all")
    assert set(settings(job, "weight_decay").values()) == {0.2}
    assert len(build_optimizer(job).param_groups) == 1


@pytest.mark.parametrize(
    ("optimizer", "groups"),
    [
        (partial(torch.optim.Adam, lr=0.1), 1),  # nothing decays: one group steps faster than two
        (partial(torch.optim.Adam, lr=0.1, weight_decay=0.0), 1),
        (partial(torch.optim.AdamW, lr=0.1), 2),  # its own default is .01
        (partial(lambda parameters, **others: torch.optim.SGD(parameters, **others), lr=0.1, weight_decay=0.2), 2),
    ],
)
def test_groups_are_parted_only_where_something_decays(make_job, optimizer, groups: int) -> None:
    assert len(build_optimizer(make_job(optimizer=optimizer)).param_groups) == groups


def test_a_pattern_takes_its_own_settings_and_the_first_one_counts(make_job) -> None:
    job = make_job(
        model=NORMALISED,
        optimizer=partial(torch.optim.Adam, lr=0.1, weight_decay=0.2),
        groups=[
            {"pattern": "head.*", "lr": 0.3, "betas": [0.5, 0.6]},
            {"pattern": "*.0.*", "weight_decay": 0.7},
            {"pattern": "body.*", "lr": 0.4},
        ],
    )
    rates = settings(job, "lr")
    assert {rates["head.weight"], rates["head.bias"]} == {0.3}
    assert {rates["body.0.weight"], rates["body.0.bias"]} == {0.1}
    assert {rates["body.3.weight"], rates["body.1.weight"]} == {0.4}
    decays = settings(job, "weight_decay")
    assert decays["head.weight"] == decays["body.3.weight"] == 0.2
    assert decays["head.bias"] == decays["body.1.weight"] == 0.0
    # What a pattern sets wins over decay_on, also for a bias.
    assert decays["body.0.weight"] == decays["body.0.bias"] == 0.7
    assert tuple(settings(job, "betas")["head.bias"]) == (0.5, 0.6)


def test_frozen_parameters_stay_out(make_job) -> None:
    job = make_job()
    job.network.head.bias.requires_grad_(False)
    assert settings(job, "lr").keys() == dict(job.network.named_parameters()).keys() - {"head.bias"}


def test_parameters_of_the_loss_are_trained_without_decay(make_job) -> None:
    class Tempered(External):
        def __init__(self) -> None:
            given = cross_entropy()
            super().__init__(given.function, reads="logits", target="index")
            self.temperature = nn.Parameter(torch.zeros(1))

    job = make_job(loss=Tempered(), optimizer=partial(torch.optim.SGD, lr=0.1, weight_decay=0.2))
    groups = build_optimizer(job).param_groups
    (own,) = [group for group in groups if any(p is job.objective.loss.temperature for p in group["params"])]
    assert own["weight_decay"] == 0.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"decay_on": "bias"}, "training.decay_on is one of weights, all, got 'bias'"),
        ({"groups": [{"lr": 1}]}, r"training.groups needs a pattern and a setting \(lr, ...\) in each, got {'lr': 1}"),
        ({"groups": [{"pattern": "*"}]}, "training.groups needs a pattern and a setting"),
        ({"groups": ["head.*"]}, "training.groups needs a pattern and a setting .* got 'head.*'"),
        (
            {"groups": [{"pattern": "heed.*", "lr": 1.0}]},
            "pattern 'heed.*' takes no parameter; they are body.0.weight, .*, head.weight, head.bias, and the first",
        ),
        (
            {"groups": [{"pattern": "*", "lr": 1.0}, {"pattern": "head.*", "lr": 2.0}]},
            r"pattern 'head.\*' takes no parameter; .* the first pattern that matches counts",
        ),
        (
            {"groups": [{"pattern": "head.*", "momentum": 0.9}]},
            "training.groups sets 'momentum', but the optimizer takes amsgrad, betas, .*, weight_decay",
        ),
        ({"groups": [{"pattern": "head.*", "lr": -1.0}]}, r"pattern 'head.\*': Invalid learning rate: -1.0"),
    ],
)
def test_refusals(make_job, arguments: dict, message: str) -> None:
    # Adam without weight decay, so that a wrong decay_on is refused though nothing decays.
    with pytest.raises(ValueError, match=message):
        build_optimizer(make_job(**arguments))


def test_a_reference_cannot_be_trained(make_job, train) -> None:
    job = make_job(model=ClassPrior)
    with pytest.raises(UserError, match=r"^ClassPrior has no parameters to train; it is a reference, not a model$"):
        build_optimizer(job)
    with pytest.raises(UserError, match=r"ClassPrior has no parameters to train"):
        train(job)


def test_a_plateau_needs_a_metric_and_knows_its_direction(make_job) -> None:
    from lossbench.training.optimizer import build_scheduler
    from lossbench.training.selection import Rule

    plateau = partial(torch.optim.lr_scheduler.ReduceLROnPlateau, patience=1)
    for rule, mode in ((Rule("val/auroc", True), "max"), (Rule("val/log_loss", False), "min")):
        job = make_job(scheduler=plateau, rule=rule)
        assert build_scheduler(job, build_optimizer(job)).mode == mode
    job = make_job(scheduler=plateau, rule=Rule(None))
    with pytest.raises(ValueError, match=r"scheduler=plateau needs a select.metric to watch, got null"):
        build_scheduler(job, build_optimizer(job))
