"""What Lightning's Trainer is told and refuses, and what its own callbacks and loggers see of us."""

from __future__ import annotations

import logging
import re
import warnings
from functools import partial
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch import callbacks as lightning_callbacks
from lightning.pytorch.loggers import CSVLogger

from lossbench.errors import UserError
from lossbench.training.job import dtype_of
from lossbench.training.lightning.trainer import build_trainer, hide_tips
from lossbench.training.selection import Rule
from lossbench.training.settings import TrainerSettings

CPU = {"accelerator": "cpu", "devices": 1}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_precision(make_job, train, dtype: torch.dtype) -> None:
    seen: list[torch.dtype] = []

    class Look(L.Callback):
        def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
            seen.append(batch[0].dtype)

    job = make_job(dtype=dtype)
    fit = train(job, callbacks=[Look()])
    assert set(seen) == {dtype}
    assert {parameter.dtype for parameter in job.network.parameters()} == {dtype}
    assert torch.get_default_dtype() == torch.float32
    # Single precision is close to double and not the same: initial weights are equal before the cast.
    double = train(make_job(dtype=torch.float64)).history[0]["train/loss"]
    assert fit.history[0]["train/loss"] == pytest.approx(double, rel=1e-5)
    assert (fit.history[0]["train/loss"] == double) == (dtype == torch.float64)


def test_precisions_by_name() -> None:
    assert dtype_of(TrainerSettings()) == torch.float32
    assert dtype_of(TrainerSettings(precision="64-true")) == torch.float64
    with pytest.raises(UserError, match=r"^trainer.precision is one of 32-true, 64-true, got '16-mixed'$"):
        TrainerSettings(precision="16-mixed")


needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 3}, "^trainer: .*unexpected keyword argument 'depth'"),
        ({"accelerator": "warp"}, "^trainer: .*warp"),
        ({"accelerator": "mps"}, "^trainer.accelerator=mps cannot serve: .* no float64; use trainer=cpu$"),
        (
            {"devices": 2},
            "^trainer.devices is one device, got 2 for 2 processes; trainer=ddp shares .* several$",
        ),
        ({"num_nodes": 2}, "^trainer"),
        ({"gradient_clip_algorithm": "sum"}, "^trainer: .*gradient_clip_algorithm"),
        pytest.param({"accelerator": "cuda"}, "^trainer: .*not available", marks=needs_no_gpu),
    ],
)
def test_refused_settings_are_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as raised, hide_tips():
        build_trainer(TrainerSettings.read({**CPU, **settings}), [], [])
    assert "\n" not in str(raised.value)


def test_refused_companions_are_named() -> None:
    with pytest.raises(UserError, match=r"^callbacks takes Lightning's Callback, got dict$"):
        build_trainer(TrainerSettings(), [{}], [])
    with pytest.raises(UserError, match=r"^tracking.loggers takes Lightning's Logger, got Timer$"):
        build_trainer(TrainerSettings(), [], [lightning_callbacks.Timer()])
    with pytest.raises(UserError, match=r"^callbacks=learning_rate needs a logger .*: tracking=csv$"):
        build_trainer(TrainerSettings(), [lightning_callbacks.LearningRateMonitor()], [])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"limit_train_batches": 0.01}, "^trainer: You requested to check 0.01 of the `train_dataloader`"),
        ({"limit_train_batches": 0}, "^trainer ended before its first epoch was over"),
    ],
)
def test_limits_that_leave_no_epoch(make_job, train, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        train(make_job(), settings)


def batches_of(make_job, train, settings: dict[str, Any]) -> list[list[bytes]]:
    """The labels and inputs of every batch, by epoch."""
    seen: list[list[bytes]] = []

    class Look(L.Callback):
        def on_train_epoch_start(self, *_: Any) -> None:
            seen.append([])

        def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
            seen[-1].append(batch[0].numpy().tobytes())

    train(make_job(), settings, callbacks=[Look()])
    return seen


def test_overfitting_sees_the_same_batches_again_and_again(make_job, train) -> None:
    plain = batches_of(make_job, train, {})
    assert [len(epoch) for epoch in plain] == [4, 4, 4]
    assert len({batch for epoch in plain for batch in epoch}) == 12
    overfit = batches_of(make_job, train, {"overfit_batches": 2})
    assert overfit == 3 * [plain[0][:2]]


def test_limited_batches_are_the_first_of_every_epoch(make_job, train) -> None:
    plain = batches_of(make_job, train, {})
    assert batches_of(make_job, train, {"limit_train_batches": 2}) == [epoch[:2] for epoch in plain]


def test_patience_ends_training_and_the_best_epoch_is_returned_to(make_job, train, state, assert_same) -> None:
    rule = Rule("val/log_loss", maximize=False, patience=2)
    diverging = partial(torch.optim.SGD, lr=3.0)
    job = make_job(optimizer=diverging, epochs=30, rule=rule)
    fit = train(job)
    losses = [row["val/log_loss"] for row in fit.history]
    assert fit.epochs == len(losses) < 30
    assert fit.selected_epoch == losses.index(min(losses)) == fit.epochs - 3
    again = make_job(optimizer=diverging, epochs=fit.selected_epoch + 1, rule=Rule(None))
    train(again)
    assert_same(state(job), state(again))


@pytest.mark.parametrize(("watched", "told"), [("val/log_loss", "val/log_loss"), ("train/objective", "train/loss")])
def test_lightnings_own_callbacks_find_the_figures(make_job, train, watched: str, told: str) -> None:
    stop = lightning_callbacks.EarlyStopping(monitor=watched, mode="max", patience=1)
    fit = train(make_job(epochs=9), callbacks=[stop])
    assert fit.epochs == 2
    assert stop.best_score.dtype == torch.float64
    assert float(stop.best_score) == fit.history[0][told]


def test_loggers_get_one_row_an_epoch(make_job, train, tmp_path) -> None:
    rows: list[tuple[int, dict[str, float]]] = []

    class Keep(CSVLogger):
        def log_metrics(self, metrics: Any, step: int | None = None) -> None:
            rows.append((step, dict(metrics)))
            super().log_metrics(metrics, step)

    cosine = partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=3)
    fit = train(make_job(scheduler=cosine), loggers=[Keep(tmp_path)])
    assert [step for step, _ in rows] == [0, 1, 2]
    assert [{"epoch": step, **row} for step, row in rows] == fit.history
    # The learning rate of an epoch is the one that it was trained with: half a cosine from .02.
    assert [row["train/lr"] for row in fit.history] == pytest.approx([0.02, 0.015, 0.005], rel=1e-9)
    (file,) = tmp_path.rglob("metrics.csv")
    assert len(file.read_text().splitlines()) == 4


def test_a_plateau_lowers_the_rate_by_the_selecting_metric(make_job, train) -> None:
    plateau = partial(torch.optim.lr_scheduler.ReduceLROnPlateau, patience=0, threshold=10.0, threshold_mode="abs")
    fit = train(make_job(scheduler=plateau, epochs=4))
    # Nothing improves by 10: from the second epoch's end on, every epoch divides the rate by ten.
    assert [row["train/lr"] for row in fit.history] == pytest.approx([0.02, 0.02, 0.002, 0.0002])


def test_a_live_bar_shows_the_epochs_and_leaves_nothing(make_job, train, monkeypatch) -> None:
    import io

    from rich import console as rich_console
    from rich import get_console

    shown = io.StringIO()
    terminal = rich_console.Console(file=shown, force_terminal=True, width=100)
    monkeypatch.setattr("rich._console", terminal)
    assert get_console() is terminal
    monkeypatch.setattr("lossbench.training.lightning.callbacks.time.monotonic", iter(range(10**6)).__next__)
    train(make_job(), live=True)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.getvalue())
    assert "epoch" in text
    assert re.search(r"val/auroc 0\.\d{4}", text)


def test_quiet_puts_everything_back() -> None:
    logger = logging.getLogger("lightning.pytorch")
    level, filters = logger.level, list(warnings.filters)
    with pytest.raises(KeyError), hide_tips():
        assert logger.level == logging.WARNING
        raise KeyError
    assert logger.level == level
    assert warnings.filters == filters
