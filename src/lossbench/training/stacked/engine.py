"""Train many jobs as one: the same numbers as one by one, at a fraction of the time."""

from __future__ import annotations

import math
import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lossbench import randomness
from lossbench.evaluation import metrics
from lossbench.evaluation.catalogue import names_for
from lossbench.models.network import Network
from lossbench.objective.objective import reported_terms
from lossbench.objective.regularizer import weight_names
from lossbench.training.fit import Diverged, Fit
from lossbench.training.job import Job
from lossbench.training.selection import Selection
from lossbench.training.stacked.batches import StackedBatches
from lossbench.training.stacked.clip import Clip
from lossbench.training.stacked.network import StackedNetwork
from lossbench.training.stacked.objective import StackedObjective, mean_losses
from lossbench.training.stacked.optimizer import StackedOptimizer
from lossbench.training.stacked.size import validated_together


def fit(
    jobs: Sequence[Job],
    kinds: Sequence[Hashable],
    *,
    clip: Clip | None = None,
    device: torch.device | str = "cpu",
) -> list[Fit | Diverged]:
    """Train jobs that differ in data, initial weights, seed and objective alone.

    Every job ends as a run of its own would have: its network and objective hold the selected epoch's parameters, and
    its history has the same keys and figures (in float64 equal to 1e-10 and less).

    Parameters
    ----------
    jobs
        With equal network shapes, optimizer, scheduler, selection rule, number of rows and batch sizes.
    kinds
        One per job; jobs of one kind have objectives that differ in buffers and parameters alone.
    clip
        Gradient clipping.
    device
        Where to train.

    Returns
    -------
    list
        For each job what training left, or why it failed: a job that diverges leaves the others as they are.
    """
    order = sorted(range(len(jobs)), key=lambda number: list(dict.fromkeys(kinds)).index(kinds[number]))
    stack = _Stack([jobs[number] for number in order], [kinds[number] for number in order], clip, torch.device(device))
    start = time.perf_counter()
    for epoch in range(jobs[0].epochs):
        stack.train(epoch)
        if stack.end(epoch):
            break
    seconds = (time.perf_counter() - start) / len(jobs)
    results = stack.results(seconds)
    return [results[index] for index in np.argsort(order)]


class _Stack:
    def __init__(self, jobs: Sequence[Job], kinds: Sequence[Hashable], clip: Clip | None, device: torch.device) -> None:
        self.jobs = jobs
        self.clip = clip
        self.batches = StackedBatches(jobs, device)
        self.network = StackedNetwork([job.network for job in jobs])
        self.slices: list[slice] = []
        for _, members in groupby(range(len(jobs)), key=lambda number: kinds[number]):
            numbers = list(members)
            self.slices.append(slice(numbers[0], numbers[-1] + 1))
        self.objectives = [StackedObjective([job.objective for job in jobs[rows]]) for rows in self.slices]
        _move(self.network, device)
        for objective in self.objectives:
            _move(objective, device)
        self.together = validated_together(jobs[0])
        self.weights = {name: self.network.parameters[name] for name in weight_names(self.network.template)}
        self.optimizer = StackedOptimizer(jobs, list(self._trained()))
        self.selection = Selection(jobs[0].rule, len(jobs))
        self.failures: list[Diverged | None] = [None] * len(jobs)
        self.histories: list[list[dict[str, float]]] = [[] for _ in jobs]
        self.kept: list[Tensor] | None = None
        self.names = names_for(jobs[0].dataset.task.n_classes, per_epoch=True)
        self.means: list[tuple[list[str], Tensor]] = []
        self.ones = torch.ones(len(jobs), dtype=jobs[0].dtype, device=device)

    def train(self, epoch: int) -> None:
        """Go once through the training rows."""
        for objective in self.objectives:
            objective.template.at_epoch(epoch)
        drops = self.network.drops
        noise = [randomness.generator(job.seed, "dropout", epoch) for job in self.batches.jobs] if drops else []
        sums: Tensor | None = None
        seen = 0
        for x, target, row_weights in self.batches.epoch(epoch):
            self.optimizer.zero_grad()
            terms = self._terms(x, target, row_weights, noise)
            torch.cat([by_name["objective"] for by_name in terms]).backward(self.ones)
            if self.clip is not None:
                self.clip(len(self.jobs), list(self._trained()))
            self.optimizer.step()
            self._act()
            reported = [reported_terms(by_name) for by_name in terms]
            with torch.no_grad():
                values = torch.cat([value for by_name in reported for value in by_name.values()])
            n_rows = target.shape[1]
            sums = values.double() * n_rows if sums is None else sums.add_(values, alpha=n_rows)
            seen += n_rows
        assert sums is not None
        by_kind = (sums / seen).split([sum(map(len, by_name.values())) for by_name in reported])
        self.means = [
            (list(by_name), means.view(len(by_name), -1).T) for by_name, means in zip(reported, by_kind, strict=True)
        ]

    def _terms(
        self, x: Tensor, target: Tensor, row_weights: Tensor | None, noise: Sequence[torch.Generator]
    ) -> list[dict[str, Tensor]]:
        if any(objective.differentiates_inputs for objective in self.objectives):
            x = x.detach().requires_grad_()
        scores, features = self.network(x, self._masks(target.shape[1], noise), training=True)
        # Split at once: the backward pass then joins the kinds' gradients, and adds no zeros for the others' rows.
        sizes = [rows.stop - rows.start for rows in self.slices]
        nothing: list[None] = [None] * len(sizes)
        read = features is not None and any(objective.reads_features for objective in self.objectives)
        parts = list(
            zip(
                scores.split(sizes),
                features.split(sizes) if features is not None and read else nothing,
                target.split(sizes),
                nothing if row_weights is None else row_weights.split(sizes),
                strict=True,
            )
        )
        by_kind = []
        losses = mean_losses(self.objectives, parts)
        for objective, rows, loss, seen in zip(self.objectives, self.slices, losses, parts, strict=True):
            terms = {"loss": loss}
            if objective.penalises:

                def input_gradient(total: Tensor, rows: slice = rows) -> Tensor:
                    return torch.autograd.grad(total, x, create_graph=True)[0][rows].transpose(1, 2)

                terms |= objective.penalties(
                    loss,
                    {name: weight[rows] for name, weight in self.weights.items()},
                    x[rows].transpose(1, 2),
                    *seen,
                    input_gradient if objective.differentiates_inputs else None,
                )
            terms["objective"] = reduce(torch.add, terms.values())
            by_kind.append(terms)
        return by_kind

    def _act(self) -> None:
        """Apply projections and proximal steps after an optimizer step."""
        for objective, rows in zip(self.objectives, self.slices, strict=True):
            if objective.acts_after_step:
                trained = {name: weight for name, weight in self.weights.items() if weight.requires_grad}
                moving = {name: weight.detach()[rows] for name, weight in trained.items()}
                rates = {name: self.optimizer.rates(f"network.{name}", rows) for name in moving}
                objective.after_step(moving, rates)

    def _masks(self, n_rows: int, noise: Sequence[torch.Generator]) -> list[Tensor]:
        template = self.network.template
        if not self.network.drops or not isinstance(template, Network):
            return []
        drawn = [template.draw_masks(n_rows, generator, self.jobs[0].dtype) for generator in noise]
        return [torch.stack(layer).index_select(0, self.batches.source) for layer in zip(*drawn, strict=True)]

    def _trained(self) -> Iterator[tuple[str, Tensor, slice]]:
        """Yield every stacked parameter by its name in a learner, with the replicates that have it."""
        for name, tensor in self.network.parameters.items():
            yield f"network.{name}", tensor, slice(None)
        for objective, rows in zip(self.objectives, self.slices, strict=True):
            for name, tensor in objective.parameters.items():
                yield f"objective.{name}", tensor, rows

    def end(self, epoch: int) -> bool:
        """Validate, select, step the scheduler; return whether nothing is left to train."""
        self._find_failures(epoch)
        figures = self._validate()
        rows = self._rows(epoch, figures)
        rule = self.selection.rule
        failed = np.array([failure is not None for failure in self.failures])
        running = ~self.selection.stopped & ~failed
        values = np.full(len(self.jobs), math.nan) if rule.metric is None else figures[rule.metric]
        chosen = self.selection.update(epoch, np.where(failed, math.nan, values), figures["val/log_loss"])
        for number in running.nonzero()[0]:
            self.histories[number].append(rows[number])
        if rule.metric is not None:
            self._keep(chosen)
        self.optimizer.end_epoch(figures)
        return bool((self.selection.stopped | failed).all())

    def _find_failures(self, epoch: int) -> None:
        running = ~self.selection.stopped
        for (names, means), rows in zip(self.means, self.slices, strict=True):
            for number, values in zip(range(rows.start, rows.stop), means.tolist(), strict=True):
                for name, value in zip(names, values, strict=True):
                    if not math.isfinite(value) and running[number] and self.failures[number] is None:
                        self.failures[number] = Diverged(f"train/{name} became {value} in epoch {epoch}")
        finite = torch.ones(len(self.jobs), dtype=torch.bool, device=self.batches.source.device)
        for _, tensor, rows in self._trained():
            finite[rows] &= tensor.detach().flatten(1).isfinite().all(dim=1)
        for number in (~finite).nonzero().flatten().tolist():
            if running[number] and self.failures[number] is None:
                owned = [tensor.detach()[number - (rows.start or 0)] for _, tensor, rows in self._trained()
                         if number in range(len(self.jobs))[rows]]  # fmt: skip
                wrong = next(float(tensor[~tensor.isfinite()][0]) for tensor in owned if not tensor.isfinite().all())
                self.failures[number] = Diverged(f"a parameter became {wrong} in epoch {epoch}")

    @torch.no_grad()
    def _validate(self) -> dict[str, NDArray[np.float64]]:
        """Return the validation figures, (R,) each, by key."""
        parts: list[dict[str, NDArray[np.float64]]] = []
        for objective, rows in zip(self.objectives, self.slices, strict=True):
            # As the ordinary run does: a loss of a whole batch may need memory for every pair of rows.
            block = 65_536 if objective.template.loss.pointwise else 4_096
            for start in range(rows.start, rows.stop, self.together):
                part = slice(start, min(start + self.together, rows.stop))
                in_kind = slice(part.start - rows.start, part.stop - rows.start)
                x, target = self.batches.val(part)
                scores, losses = [], []
                for block_x, block_y in zip(x.split(block, dim=2), target.split(block, dim=1), strict=True):
                    block_scores, features = self.network(block_x, rows=part)
                    means = objective.mean_loss(block_scores, features, block_y, rows=in_kind)
                    scores.append(block_scores)
                    losses.append(means.double() * block_y.shape[1])
                probs = objective.probs(torch.cat(scores, dim=1).double(), in_kind)
                values = metrics.compute(target.cpu().numpy(), probs.cpu().numpy(), self.names)
                loss = (torch.stack(losses).sum(dim=0) / target.shape[1]).cpu().numpy()
                parts.append({"val/loss": loss, **{f"val/{name}": value for name, value in values.items()}})
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}

    def _rows(self, epoch: int, figures: Mapping[str, NDArray[np.float64]]) -> list[dict[str, float]]:
        """Return one row of history per replicate, with the ordinary run's keys in its order."""
        rates = self.optimizer.shown()
        table = list(zip(*(values.tolist() for values in figures.values()), strict=True))
        rows = []
        for (names, means), members in zip(self.means, self.slices, strict=True):
            keys = [f"train/{name}" for name in names]
            for number, values in zip(range(members.start, members.stop), means.tolist(), strict=True):
                of_training = dict(zip(keys, values, strict=True))
                rate = {} if rates is None else {"train/lr": rates[number]}
                rows.append({"epoch": epoch, **of_training, **rate, **dict(zip(figures, table[number], strict=True))})
        return rows

    def _state(self) -> Iterator[tuple[str, Tensor, slice]]:
        """Yield all that an epoch leaves: parameters and the networks' buffers."""
        yield from self._trained()
        for name, tensor in self.network.buffers.items():
            yield f"network.{name}", tensor, slice(None)

    def _keep(self, chosen: NDArray[np.bool_]) -> None:
        """Keep the state of the replicates that select this epoch."""
        if self.kept is None:
            self.kept = [tensor.detach().clone() for _, tensor, _ in self._state()]
            return
        mask = torch.as_tensor(chosen, device=self.batches.source.device)
        if not chosen.any():
            return
        for kept, (_, tensor, rows) in zip(self.kept, self._state(), strict=True):
            picked = mask[rows].view(-1, *(1,) * (tensor.ndim - 1))
            torch.where(picked, tensor.detach(), kept, out=kept)

    def results(self, seconds: float) -> list[Fit | Diverged]:
        """Put every job's selected parameters into its network and objective."""
        states: list[dict[str, Tensor]] = [{} for _ in self.jobs]
        for index, (name, tensor, rows) in enumerate(self._state()):
            final = (tensor.detach() if self.kept is None else self.kept[index]).cpu()
            for index_in_rows, number in enumerate(range(len(self.jobs))[rows]):
                states[number][name] = final[index_in_rows]
        results: list[Fit | Diverged] = []
        for number, (job, state, history) in enumerate(zip(self.jobs, states, self.histories, strict=True)):
            failure, epoch = self.failures[number], int(self.selection.epoch[number])
            if failure is None and epoch < 0:
                failure = Diverged(f"{job.rule.metric} was undefined in every epoch, so no epoch can be selected")
            if failure is not None:
                failure.history = history
                results.append(failure)
                continue
            _load(job.network, "network.", state)
            _load(job.objective, "objective.", state)
            job.objective.at_epoch(epoch)
            results.append(Fit(epoch, len(history), history, seconds))
        return results


@torch.no_grad()
def _load(module: torch.nn.Module, prefix: str, state: Mapping[str, Tensor]) -> None:
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if prefix + name in state:
            tensor.copy_(state[prefix + name])


def _move(part: StackedNetwork | StackedObjective, device: torch.device) -> None:
    part.template.to(device)
    for tensors in (part.parameters, part.buffers):
        for name, tensor in tensors.items():
            tensors[name] = tensor.detach().to(device).requires_grad_(tensor.requires_grad)
