"""A stack gives every job what a run of its own would: for every YAML, in float64, parameters to 1e-10."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from lossbench.config.compose import compose
from lossbench.data.dataset import Dataset
from lossbench.errors import CannotServe
from lossbench.runs.prepare import draw, prepare_job
from lossbench.runs.settings import read_settings
from lossbench.training.fit import Diverged, Fit
from lossbench.training.job import Job
from lossbench.training.lightning.trainer import fit
from lossbench.training.settings import FitSettings
from lossbench.training.stacked import eligible
from lossbench.training.stacked.engine import fit as fit_stack

CONF = Path(__file__).parents[3] / "conf"
EPOCHS = 3
TASKS = {
    "two": ("data=rings", "data.positives=40", "data.negatives=120", "data.test_rows=20", "data.batch_size=48"),
    "three": ("data=iris", "data.batch_size=32"),
}
# What a stack cannot give, and the reason that its run's tag will have.
ALONE = {
    ("loss", "adaptive_log_softmax"): "AdaptiveLogSoftmax states that it cannot be stacked",
    ("loss", "multi_margin"): "MultiMarginLoss states that it cannot be stacked",
    ("loss", "soft_margin"): "SoftMarginLoss states that it cannot be stacked",
}

# Some gradients of these are rounding alone: a constant added to all scores changes no ranking, and the direction of
# features of which one is not zero does not turn. Adam would scale that up to whole steps, and no two ways to compute
# it would agree.
BY_SGD = ("average_precision", "pairwise_auc", "arcface", "cosface", "normalized_softmax")


@cache
def composed(task: str, *overrides: str) -> dict[str, Any]:
    shared = ("trainer.precision=64-true", f"trainer.max_epochs={EPOCHS}", "model.widths=[5,4]")
    small = [text for text in shared if "model=linear" not in overrides or not text.startswith("model")]
    return compose([*small, *TASKS[task], *overrides])


def seeded(config: dict[str, Any], seed: int) -> dict[str, Any]:
    made = copy.deepcopy(config)
    made["seed"] = made["data"]["source_seed"] = made["data"]["split_seed"] = seed
    return made


def with_yaml(config: dict[str, Any], group: str, name: str) -> dict[str, Any]:
    """Return the config with another choice, without Hydra's .2 s."""
    made = copy.deepcopy(config)
    text = OmegaConf.load(CONF / group / f"{name}.yaml")
    node = OmegaConf.to_container(OmegaConf.create({"node": text, "trainer": {"max_epochs": EPOCHS}}), resolve=True)
    assert isinstance(node, dict)
    made[group] = {name: node["node"]} if group == "regularizer" else node["node"]
    return made


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml") if path.stem != "none")


@cache
def drawn(data: str) -> Dataset:
    return draw({"data": json.loads(data)})


def job_of(config: dict[str, Any]) -> Job:
    return prepare_job(config, drawn(json.dumps(config["data"])))


def asked(config: dict[str, Any]) -> FitSettings:
    return read_settings(config).fit


class Compare(Protocol):
    def __call__(self, configs: Sequence[dict[str, Any]], parameters: float = 1e-10, figures: float = 1e-8) -> None: ...


@pytest.fixture
def compare(device: str) -> Compare:
    return partial(require_one_result, device=device)


def require_one_result(
    configs: Sequence[dict[str, Any]], parameters: float = 1e-10, figures: float = 1e-8, *, device: str
) -> None:
    """Train the jobs both ways, stacked on that device."""
    alone, together = ([job_of(config) for config in configs] for _ in range(2))
    assert len({eligible.stack_key(job, asked(config)) for config, job in zip(configs, together, strict=True)}) == 1
    kinds = [eligible.kind_key(job) for job in together]
    stacked = fit_stack(together, kinds, clip=eligible.clip_of(asked(configs[0]).trainer), device=device)
    for config, one, other, found in zip(configs, alone, together, stacked, strict=True):
        fitted = fit(one, asked(config).trainer)
        assert isinstance(found, Fit)
        assert (found.selected_epoch, found.epochs) == (fitted.selected_epoch, fitted.epochs)
        for module, twin in ((one.network, other.network), (one.objective, other.objective)):
            state, copied = module.state_dict(), twin.state_dict()
            assert state.keys() == copied.keys()
            for name, tensor in state.items():
                apart = (tensor.double() - copied[name].double()).abs().max() if tensor.numel() else 0
                assert apart <= parameters, f"{name} is {apart} apart"
        for row, twin_row in zip(fitted.history, found.history, strict=True):
            assert list(row) == list(twin_row)
            np.testing.assert_allclose(list(twin_row.values()), list(row.values()), rtol=0, atol=figures)


GROUPS = ("loss", "weighting", "regularizer", "optimizer", "scheduler")
CASES = [
    *((group, name, "two") for group in GROUPS for name in names(group)),
    *(("loss", n, "three") for n in names("loss")),
]


@pytest.mark.parametrize(("group", "name", "task"), CASES)
def test_every_yaml(group: str, name: str, task: str, compare: Compare) -> None:
    config = with_yaml(composed(task), group, name)
    if name == "explicit":
        config["weighting"]["vector"] = [1.0, 3.0]
    if name in BY_SGD:
        config = with_yaml(config, "optimizer", "sgd")
    configs = [seeded(config, seed) for seed in (0, 1)]
    try:
        job = job_of(configs[0])
    except CannotServe as refusal:
        pytest.skip(str(refusal))
    reason = eligible.why_alone(job, asked(config))
    assert reason == ALONE.get((group, name))
    if reason is None:
        compare(configs)


WAYS = [
    ("model.dropout=0.4",),
    ("model.normalization=layer", "model.activation=tanh"),
    ("trainer.gradient_clip_val=0.05",),
    ("trainer.gradient_clip_val=0.01", "trainer.gradient_clip_algorithm=value", "loss=aucm"),
    ("select.patience=2", "trainer.max_epochs=25", "optimizer.lr=0.05"),
    ("select.metric=null",),
    ("select.metric=val/log_loss", "data.sampler=balanced"),
    ("data.batch_size=null", "training.decay_on=all", "optimizer.weight_decay=0.1"),
    ("weighting=balanced", "weighting.start=1", "regularizer=[l1,input_gradient]", "scheduler=cosine"),
    (
        "regularizer=[l1,l2]",
        "regularizer.l1.proximal=true",
        "regularizer.l2.schedule=warm_up",
        "regularizer.l2.until=2",
    ),
    ("training.groups=[{pattern: 'head.*', lr: 0.1}]", "loss=aucm"),
    ("model=linear",),
]


@pytest.mark.parametrize("overrides", WAYS, ids=" ".join)
def test_every_way_to_train(overrides: tuple[str, ...], compare: Compare) -> None:
    config = composed("two", *overrides)
    configs = [seeded(config, seed) for seed in (0, 1, 2)]
    assert eligible.why_alone(job_of(configs[0]), asked(config)) is None
    compare(configs)


def test_batch_normalisation(compare: Compare) -> None:
    # By SGD, since the gradient of a bias before it is rounding alone, as above.
    config = with_yaml(composed("two", "model.normalization=batch"), "optimizer", "sgd")
    compare([seeded(config, seed) for seed in (0, 1)])


def test_replicates_may_differ_in_every_number_and_in_their_loss(compare: Compare) -> None:
    base = composed("two")
    configs = []
    for name, changes in (
        ("focal", [{"gamma": 1.0}, {"gamma": 3.0}]),
        ("bi_tempered", [{"t1": 0.5}, {"t2": 1.8}]),
        ("logit_adjusted", [{"tau": 0.5}, {"tau": 2.0}]),
        ("cross_entropy", [{}, {}]),
    ):
        for seed, change in enumerate(changes):
            made = seeded(with_yaml(with_yaml(base, "loss", name), "regularizer", "l2"), seed)
            made["loss"] |= change
            made["regularizer"]["l2"]["strength"] = 0.01 * (1 + seed)
            configs.append(made)
    # Each loss is one kind: its numbers are buffers.
    assert len({eligible.kind_key(job_of(config)) for config in configs}) == 4
    compare(configs)
    compare(configs[::-1])


RATES = ({"lr": 0.02}, {"lr": 0.003, "weight_decay": 0.1}, {"lr": 0.05, "weight_decay": 0.02})
OPTIMIZERS = (
    *names("optimizer"),
    "torch.optim.Adadelta",
    "torch.optim.Adagrad",
    "torch.optim.Adamax",
    "torch.optim.NAdam",
    "torch.optim.RAdam",
)


@pytest.mark.parametrize(
    ("optimizer", "overrides"),
    [
        *((optimizer, ()) for optimizer in OPTIMIZERS),
        ("sgd", ("+optimizer.maximize=true", "trainer.max_epochs=1")),
        *(("adamw", (f"scheduler={name}",)) for name in names("scheduler")),
        ("adam", ("scheduler=plateau", "scheduler.patience=0", "scheduler.threshold=0.1")),
        ("sgd", ("training.groups=[{pattern: 'head.*', lr: 0.1}]", "training.decay_on=all")),
        ("sgd", ("regularizer=[l1]", "regularizer.l1.proximal=true", "loss=aucm")),
        ("adam", ("trainer.gradient_clip_val=0.05", "scheduler=cosine", "scheduler.eta_min=0.001")),
    ],
)
def test_replicates_may_differ_in_learning_rate_and_weight_decay(
    optimizer: str, overrides: tuple[str, ...], compare: Compare
) -> None:
    own = () if "." in optimizer else (f"optimizer={optimizer}",)
    base = copy.deepcopy(composed("two", *own, *overrides))
    if "." in optimizer:
        base["optimizer"] = {"_target_": optimizer, "_partial_": True}
    configs = [seeded(base, seed) for seed in range(len(RATES))]
    for config, rates in zip(configs, RATES, strict=True):
        config["optimizer"] |= rates
    assert eligible.why_alone(job_of(configs[0]), asked(configs[0])) is None
    compare(configs)


def test_a_scheduler_of_momentum_keeps_rates_apart(compare: Compare) -> None:
    config = composed("two", "optimizer=sgd")
    config = copy.deepcopy(config)
    config["scheduler"] = {
        "_target_": "torch.optim.lr_scheduler.OneCycleLR", "_partial_": True, "max_lr": 0.1, "total_steps": EPOCHS + 1
    }  # fmt: skip
    other = copy.deepcopy(config)
    other["optimizer"]["lr"] = 0.5
    assert len({eligible.stack_key(job_of(each), asked(each)) for each in (config, other)}) == 2
    compare([seeded(config, seed) for seed in (0, 1)])


def test_what_diverges_leaves_the_others_as_they_are(device: str) -> None:
    configs = [seeded(with_yaml(composed("two"), "loss", "brier"), seed) for seed in (0, 1, 2)]
    jobs = [job_of(config) for config in configs]
    with torch.no_grad():
        next(jobs[1].network.parameters()).fill_(float("nan"))
    found = fit_stack(jobs, ["brier"] * 3, device=device)
    assert isinstance(found[1], Diverged)
    assert str(found[1]) == "train/loss became nan in epoch 0"
    for place in (0, 2):
        job = job_of(configs[place])
        fitted, stacked = fit(job, asked(configs[place]).trainer), found[place]
        assert isinstance(stacked, Fit)
        assert stacked.selected_epoch == fitted.selected_epoch
        for one, other in zip(job.network.parameters(), jobs[place].network.parameters(), strict=True):
            torch.testing.assert_close(other, one, rtol=0, atol=1e-10)


class Noisy(torch.nn.Module):
    """A person's own network that draws at random by itself."""

    def __init__(self, task: Any) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(task.n_features, 4), torch.nn.Dropout(0.5))
        self.out = torch.nn.Linear(4, task.n_scores)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.layers(x))


class Plain(Noisy):
    """A person's own network of a shape that lossbench has no layers for."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.layers[0](x).relu() + x.sum(dim=1, keepdim=True).sin())


def with_model(kind: type) -> dict[str, Any]:
    config = copy.deepcopy(composed("two"))
    config["model"] = {"_target_": f"{__name__}.{kind.__name__}", "_partial_": True}
    return config


def test_own_networks(monkeypatch: pytest.MonkeyPatch, compare: Compare) -> None:
    import sys

    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    compare([seeded(with_model(Plain), seed) for seed in (0, 1)])
    assert eligible.why_alone(job_of(with_model(Plain)), asked(with_model(Plain))) is None
    reason = eligible.why_alone(job_of(with_model(Noisy)), asked(with_model(Noisy)))
    assert reason is not None
    assert "random" in reason


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (("callbacks=learning_rate",), "callbacks (learning_rate) are Lightning's and see one run at a time"),
        (("training.resume_every=1",), "checkpoints to resume from are Lightning's"),
        (("+trainer.accumulate_grad_batches=2",), "trainer.accumulate_grad_batches=2 is Lightning's"),
        (("optimizer._target_=torch.optim.Adafactor", "~optimizer.fused"), "the optimizer Adafactor is not known"),
    ],
)
def test_why_a_job_is_trained_alone(overrides: tuple[str, ...], reason: str) -> None:
    config = composed("two", *overrides)
    assert str(eligible.why_alone(job_of(config), asked(config))).startswith(reason)
