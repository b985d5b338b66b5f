"""The LightningModule: one network under one objective, its epoch's figures in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch
from torch import Tensor

from lossbench import randomness
from lossbench.evaluation import metrics
from lossbench.evaluation.catalogue import names_for
from lossbench.models.forward import propagate
from lossbench.models.network import Network
from lossbench.objective.objective import reported_terms
from lossbench.objective.regularizer import Step, weight_names
from lossbench.training.fit import Diverged
from lossbench.training.job import Job
from lossbench.training.lightning.shared_batch import ALONE, Ranks
from lossbench.training.optimizer import build_optimizer, build_scheduler, step_scheduler


class Learner(L.LightningModule):
    """Train a :class:`Job`'s network; leave one row of figures per epoch in :attr:`history`.

    The figures go straight into ``trainer.callback_metrics``, where Lightning's callbacks look for them: ``self.log``
    would make them float32 and cost more than a small network's training step.

    Parameters
    ----------
    job
        What to train.
    report
        Called with each row as it comes, on a resume first with those of the epochs before.
    ranks
        The processes that share each batch; rank zero alone validates, and sends the others its figures.
    """

    def __init__(
        self, job: Job, report: Callable[[Mapping[str, float]], None] | None = None, ranks: Ranks = ALONE
    ) -> None:
        super().__init__()
        self.job = job
        self.ranks = ranks
        self.report = report
        self.network = job.network
        self.objective = job.objective
        self.history: list[dict[str, float]] = []
        self._per_epoch = names_for(job.dataset.task.n_classes, per_epoch=True)
        parameters = dict(job.network.named_parameters())
        self._weights: Mapping[str, Tensor] = {name: parameters[name] for name in weight_names(job.network)}
        self._trained = list(self.parameters())
        self._needs_input_gradient = "input_gradient" in job.objective.needs
        self._noise: torch.Generator | None = None
        self._sums: Tensor | None = None
        self._names: list[str] = []
        self._rows = 0
        self._scheduler: Any = None
        self._scheduler_state: dict[str, Any] | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning notes the name of every hook that it calls here, some forty times a step, and torch's own
        # __setattr__ would look each time for a parameter: a tenth of a small network's training.
        if name == "_current_fx_name":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def forward(self, x: Tensor) -> Tensor:
        """Return the raw scores of a batch."""
        return propagate(self.network, x)[0]

    def _step(self, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Return the named terms of one training batch, differentiable."""
        x, target, *rest = batch
        row_weights = rest[0] if rest else None
        rows, ranks = len(x), self.ranks
        share = x if ranks.world == 1 else x[ranks.share(rows)]
        if self._needs_input_gradient:
            share = share.detach().requires_grad_()
            x = share if ranks.world == 1 else x
        scores, features = self._propagate_with_dropout(share, rows)
        if ranks.world > 1:
            scores = ranks.gather(scores, rows)
            features = None if features is None else ranks.gather(features, rows)
        prediction = self.objective.predict(scores, features)

        def input_gradient() -> Tensor:
            mean = self.objective.mean_loss(prediction, target, row_weights)
            gradient = rows * torch.autograd.grad(mean, share, create_graph=True)[0]
            # What is gathered has a gradient for every rank that gathers it.
            return gradient if ranks.world == 1 else ranks.gather(gradient / ranks.world, rows)

        return self.objective(Step(self._weights, x, features, prediction, target, input_gradient, row_weights))

    def _propagate_with_dropout(self, x: Tensor, rows: int) -> tuple[Tensor, Tensor | None]:
        """Return scores and features of this rank's share of a batch of so many rows.

        Our networks are handed their dropout masks; a user's own module draws from our stream through torch's global
        generator.
        """
        if self._noise is None:
            raise RuntimeError("a training step outside an epoch has no dropout stream")
        if isinstance(self.network, Network):
            masks = self.network.draw_masks(rows, self._noise, x.dtype)
            if self.ranks.world > 1:
                masks = [mask[self.ranks.share(rows)] for mask in masks]
            return propagate(self.network, x, masks)
        with _global_generator_at(self._noise):
            return propagate(self.network, x)

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        terms = self._step(batch)
        rows = len(batch[1])
        reported = reported_terms(terms)
        values = torch.stack([term.detach() for term in reported.values()]).double()
        if self._sums is None:
            self._names, self._sums, self._rows = list(reported), values * rows, rows
        else:
            self._sums.add_(values, alpha=rows)
            self._rows += rows
        return terms["objective"]

    def on_train_epoch_start(self) -> None:
        epoch = self.current_epoch
        # Masks are drawn on the CPU, for whole batches; a user's own module draws where it computes, for its share.
        ours = isinstance(self.network, Network)
        seed = randomness.integer(self.job.seed, "dropout", epoch) + (0 if ours else self.ranks.rank)
        self._noise = torch.Generator("cpu" if ours else self.device).manual_seed(seed)
        self.objective.at_epoch(epoch)
        self.trainer.datamodule.set_epoch(epoch)  # type: ignore[attr-defined]

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        # Not after every batch, of which several may accumulate for one step.
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        if self.objective.acts_after_step:
            rates = {
                id(parameter): float(group["lr"]) for group in optimizer.param_groups for parameter in group["params"]
            }
            moved = {name: weight for name, weight in self._weights.items() if id(weight) in rates}
            self.objective.after_step(moved, {name: rates[id(weight)] for name, weight in moved.items()})

    def end_epoch(self) -> Mapping[str, float]:
        """Validate, and return the epoch's row of figures.

        Raises
        ------
        Diverged
            Where the training loss or a parameter is no longer finite.
        """
        assert self._sums is not None
        epoch = self.current_epoch
        means = (self._sums / self._rows).tolist()
        self._sums = None
        row = {f"train/{name}": value for name, value in zip(self._names, means, strict=True)}
        for name, value in row.items():
            if not math.isfinite(value):
                raise Diverged(f"{name} became {value} in epoch {epoch}")
        values = torch.nn.utils.parameters_to_vector(self._trained).detach()
        finite = values.isfinite()
        if not finite.all():
            raise Diverged(f"a parameter became {float(values[~finite][0])} in epoch {epoch}")
        if self._scheduler is not None:
            row["train/lr"] = float(self.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]
        if self.ranks.rank == 0:
            row |= self._validate()
        if self.ranks.world > 1:
            # Whole, on one rank: what selects, stops and schedules must be the same to the last bit on all.
            row = self.trainer.strategy.broadcast(row)
        self._keep({"epoch": epoch, **row})
        # As tensors, which Lightning's own callbacks (EarlyStopping) take for granted.
        watched = {"train/objective": row["train/loss"], **row}  # which a history tells where it is not the loss
        figures = torch.tensor(list(watched.values()), dtype=torch.float64)
        self.trainer.callback_metrics.update(zip(watched, figures.unbind(), strict=True))
        for logger in self.loggers:
            logger.log_metrics(row, step=epoch)
        return row

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """Return the figures of the validation split, in evaluation mode.

        Lightning's own validation loop costs as much as a small network's whole epoch, and has nothing to add for
        a split that is in memory.
        """
        self.network.eval()
        losses, scores, targets = [], [], []
        for x, target in self.trainer.datamodule.val_batches():  # type: ignore[attr-defined]
            batch_scores, features = propagate(self.network, x)
            mean = self.objective.mean_loss(self.objective.predict(batch_scores, features), target)
            losses.append(float(mean) * len(target))
            scores.append(batch_scores)
            targets.append(target)
        self.network.train()
        target = torch.cat(targets)
        probs = self.objective.predict(torch.cat(scores).double()).probs
        figures = metrics.compute(target.cpu().numpy(), probs.cpu().numpy()[None], self._per_epoch)
        return {
            "val/loss": sum(losses) / len(target),
            **{f"val/{name}": float(value[0]) for name, value in figures.items()},
        }

    def _keep(self, row: dict[str, float]) -> None:
        self.history.append(row)
        if self.report is not None:
            self.report(row)

    def on_train_epoch_end(self) -> None:
        # Every scheduler steps here, once an epoch. Lightning would step the others before validation and a plateau
        # after the last hook in which a checkpoint can be saved, so that no resume could be exact.
        if self._scheduler is not None:
            step_scheduler(self._scheduler, self.trainer.callback_metrics, self.job.rule)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        optimizer = build_optimizer(self.job)
        self._scheduler = build_scheduler(self.job, optimizer)
        if self._scheduler is not None and self._scheduler_state is not None:
            self._scheduler.load_state_dict(self._scheduler_state)
        return optimizer

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["history"] = self.history
        checkpoint["scheduler"] = None if self._scheduler is None else self._scheduler.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for row in checkpoint["history"]:
            self._keep(row)
        self._scheduler_state = checkpoint["scheduler"]


@contextmanager
def _global_generator_at(generator: torch.Generator) -> Iterator[None]:
    """Let a module that draws from torch's global generator draw from this one, and put the global one back."""
    shared = (
        torch.cuda.default_generators[generator.device.index]
        if generator.device.type == "cuda"
        else torch.default_generator
    )
    before = shared.get_state()
    shared.set_state(generator.get_state())
    try:
        yield
    finally:
        generator.set_state(shared.get_state())
        shared.set_state(before)
