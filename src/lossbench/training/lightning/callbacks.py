"""Thin Lightning callbacks: the selected epoch, the checkpoint to resume from, the live bar."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lossbench.training.lightning.learner import Learner
from lossbench.training.selection import Selection


class EndEpoch(L.Callback):
    """End every epoch: have the learner validate, ask the selection whether this epoch counts and whether to stop.

    It comes first among the callbacks, so that all others find the epoch's figures in ``trainer.callback_metrics``.
    """

    def __init__(self, selection: Selection) -> None:
        self.selection = selection
        self.parameters: dict[str, torch.Tensor] | None = None

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        # A checkpoint of a run that patience has stopped goes no further.
        trainer.should_stop = bool(self.selection.stopped[0])

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        assert isinstance(module, Learner)
        row = module.end_epoch()
        metric = self.selection.rule.metric
        if metric is not None and metric not in row:
            names = ", ".join(sorted(key for key in row if key.startswith("val/")))
            raise ValueError(f"select.metric is one of {names}, got {metric!r}")
        value = math.nan if metric is None else row[metric]
        chosen = self.selection.update(trainer.current_epoch, [value], [row["val/log_loss"]])
        # Without a metric the last epoch counts, and its parameters are those that training ends with.
        if chosen[0] and metric is not None:
            self.parameters = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
        if self.selection.stopped[0]:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        return {"selection": self.selection.state_dict(), "parameters": self.parameters}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.selection.load_state_dict(state_dict["selection"])
        self.parameters = state_dict["parameters"]


class ResumePoint(L.Callback):
    """Write ``last.ckpt`` at every n-th epoch boundary, whole or not at all."""

    def __init__(self, path: Path, every: int) -> None:
        self.path = path
        self.every = every

    def on_train_epoch_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        # The start of an epoch is the only hook at which the epoch before is over for all of Lightning's counters.
        if trainer.current_epoch == 0 or trainer.current_epoch % self.every:
            return
        # But the coming one counts as ready, and Lightning (2.6, FitLoop.restarting) would take it for one that was
        # broken off: it would go on after its last batch.
        progress = trainer.fit_loop.epoch_progress
        for count in (progress.total, progress.current):
            count.ready -= 1
        self._save(trainer)
        for count in (progress.total, progress.current):
            count.ready += 1

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._save(trainer)

    def _save(self, trainer: L.Trainer) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        trainer.save_checkpoint(partial)  # all ranks together; rank zero writes
        if trainer.is_global_zero:
            os.replace(partial, self.path)


class LiveBar(L.Callback):
    """One line that shows the epoch and the selecting metric, redrawn ten times a second at most."""

    def __init__(self, metric: str | None) -> None:
        self.metric = metric or "val/log_loss"
        self._progress = Progress(
            TextColumn("epoch"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.fields[figure]}"),
            TimeRemainingColumn(),
            transient=True,
        )
        self._drawn = 0.0

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._task = self._progress.add_task("", total=trainer.max_epochs, completed=trainer.current_epoch, figure="")
        self._progress.start()

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if time.monotonic() - self._drawn > 0.1:
            self._drawn = time.monotonic()
            share = (batch_idx + 1) / max(1, int(trainer.num_training_batches))
            figure = trainer.callback_metrics.get(self.metric)
            text = "" if figure is None else f"{self.metric} {float(figure):.4f}"
            self._progress.update(self._task, completed=trainer.current_epoch + share, figure=text)

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._progress.stop()

    def on_exception(self, trainer: L.Trainer, module: L.LightningModule, exception: BaseException) -> None:
        self._progress.stop()
