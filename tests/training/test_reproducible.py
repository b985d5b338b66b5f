"""One seed gives one result, to the bit; losses of one seed are paired; no global generator is read or moved."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from torch import nn

from lossbench import randomness
from lossbench.data.order import shuffled_order
from lossbench.models.mlp import Mlp
from lossbench.objective.losses.focus import Focal
from lossbench.objective.losses.likelihood import Brier, cross_entropy
from lossbench.task import Task

DROPOUT = partial(Mlp, widths=(6, 5), dropout=0.4)


class Plain(nn.Sequential):
    """A user's own module, with torch's own dropout."""

    def __init__(self, task: Task) -> None:
        super().__init__(nn.Linear(task.n_features, 6), nn.ReLU(), nn.Dropout(0.4), nn.Linear(6, task.n_scores))


class Batches(L.Callback):
    """Keep every batch that the learner sees, and the weights before the first."""

    def __init__(self) -> None:
        self.seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.start = {name: p.detach().clone() for name, p in module.job.network.named_parameters()}

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        self.seen.append((batch[0].clone(), batch[1].clone()))


def disturb() -> None:
    """Leave every global generator, and torch's defaults, somewhere else."""
    torch.manual_seed(987)
    np.random.seed(987)  # noqa: NPY002
    random.seed(987)


def global_states() -> list[Any]:
    return [torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()]  # noqa: NPY002


@pytest.mark.parametrize("model", [DROPOUT, Plain])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_seed_gives_the_same_numbers_twice(make_job, train, state, assert_same, model, dtype) -> None:
    first = make_job(model=model, dtype=dtype)
    fit_first = train(first)
    disturb()
    before = global_states()
    second = make_job(model=model, dtype=dtype)
    fit_second = train(second)
    assert global_states() == before, "training leaves the global generators alone"
    assert_same(fit_first.history, fit_second.history)
    assert_same(state(first), state(second))
    assert fit_first.selected_epoch == fit_second.selected_epoch


def test_seeds_differ_and_zero_is_one_of_them(make_job, train) -> None:
    losses = [train(make_job(seed=seed, epochs=1)).history[0]["train/loss"] for seed in (0, 1, 2)]
    assert len(set(losses)) == 3


@pytest.mark.parametrize("model", [DROPOUT, Plain])
def test_losses_of_one_seed_share_weights_and_batches(make_job, train, rings, model) -> None:
    captured = {}
    for loss in (cross_entropy(), Focal(gamma=2.0), Brier()):
        batches = Batches()
        train(make_job(loss=loss, model=model, epochs=2), callbacks=[batches])
        captured[loss.name] = batches
    first, *others = captured.values()
    assert len(captured) == 3
    for other in others:
        assert all(torch.equal(weight, other.start[name]) for name, weight in first.start.items())
        assert len(first.seen) == len(other.seen) == 8
        assert all(
            torch.equal(x, ox) and torch.equal(y, oy) for (x, y), (ox, oy) in zip(first.seen, other.seen, strict=True)
        )
    # And they are the batches of the stream `order`, epoch by epoch.
    assert [len(y) for _, y in first.seen] == 2 * [64, 64, 64, 48]
    for epoch in (0, 1):
        rows = shuffled_order(0, epoch, len(rings.train)).numpy()
        ours = torch.cat([y for _, y in first.seen[epoch * 4 : epoch * 4 + 4]])
        assert torch.equal(ours, torch.as_tensor(rings.train.y[rows]))


def test_another_seed_has_other_batches_and_weights(make_job, train) -> None:
    captured = []
    for seed in (0, 1):
        batches = Batches()
        train(make_job(seed=seed, epochs=1), callbacks=[batches])
        captured.append(batches)
    assert not torch.equal(captured[0].start["head.weight"], captured[1].start["head.weight"])
    assert not torch.equal(captured[0].seen[0][0], captured[1].seen[0][0])


class Watch(Plain):
    """Keep the dropout mask of every training step."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.masks: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ones = self[2](torch.ones(len(x), 6, dtype=x.dtype))
        if self.training:
            self.masks.append(ones)
        return self[3](self[1](self[0](x)) * ones)


def masks_of(make_job, train, **arguments: Any) -> list[torch.Tensor]:
    job = make_job(model=Watch, epochs=2, **arguments)
    train(job)
    return job.network.masks


def test_a_users_own_dropout_follows_the_stream_by_epoch(make_job, train) -> None:
    once, again, other = (masks_of(make_job, train, seed=seed) for seed in (3, 3, 4))
    assert all(torch.equal(one, two) for one, two in zip(once, again, strict=True))
    assert not torch.equal(once[0], other[0])
    # Every step of an epoch goes on where the step before stopped, in torch's own dropout.
    per_epoch = len(once) // 2
    for epoch in (0, 1):
        with randomness.seeded(3, "dropout", epoch):
            for step in range(per_epoch):
                mask = once[epoch * per_epoch + step]
                assert torch.equal(mask, nn.Dropout(0.4)(torch.ones_like(mask)))


def test_dropout_of_our_networks_differs_by_step_epoch_and_seed(make_job, train, monkeypatch) -> None:
    drawn: list[torch.Tensor] = []
    original = Mlp.draw_masks

    def keep(self: Mlp, n_rows: int, generator: torch.Generator, dtype: torch.dtype) -> list[torch.Tensor]:
        masks = original(self, n_rows, generator, dtype)
        drawn.append(masks[0][:40])
        return masks

    monkeypatch.setattr(Mlp, "draw_masks", keep)
    for seed in (0, 1):
        train(make_job(model=DROPOUT, epochs=2, seed=seed))
    assert len(drawn) == 16
    assert len({mask.numpy().tobytes() for mask in drawn}) == len(drawn)
    generator = randomness.generator(1, "dropout", 1)
    assert torch.equal(drawn[12], original(make_job(model=DROPOUT).network, 64, generator, torch.float64)[0][:40])
