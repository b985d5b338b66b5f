"""One optimizer over stacked parameters whose replicates may differ in learning rate and weight decay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import lr_scheduler

from lossbench.training.job import Job
from lossbench.training.optimizer import build_optimizer, build_scheduler, step_scheduler

Settings = dict[str, Any]
OWN = ("lr", "weight_decay")
# Schedulers that move nothing but the learning rate; others (OneCycleLR) move momentum as well.
_RATES_ALONE = (
    lr_scheduler.ConstantLR,
    lr_scheduler.CosineAnnealingLR,
    lr_scheduler.CosineAnnealingWarmRestarts,
    lr_scheduler.ExponentialLR,
    lr_scheduler.LambdaLR,
    lr_scheduler.LinearLR,
    lr_scheduler.MultiplicativeLR,
    lr_scheduler.MultiStepLR,
    lr_scheduler.PolynomialLR,
    lr_scheduler.ReduceLROnPlateau,
    lr_scheduler.StepLR,
)


def may_differ(job: Job) -> bool:
    """Return whether jobs that differ from this one in learning rate and weight decay alone can share its stack."""
    return job.scheduler is None or getattr(job.scheduler, "func", job.scheduler) in _RATES_ALONE


class StackedOptimizer:
    """Steps every replicate's parameters as its own optimizer and scheduler would.

    The optimizers are elementwise, so one of them over stacked parameters is all of them at once. Where replicates
    differ in learning rate or weight decay, or each has a plateau of its own, it steps at the rate 1 without decay, and
    every replicate goes its own rate's share of that way: the direction u of these optimizers does not depend on the
    rate, and w - lr u = w + lr ((w - u) - w). Decay comes before it, as in torch: added to the gradient, or shrinking
    the weights where it is decoupled.

    Parameters
    ----------
    jobs
        Their optimizers differ in ``lr`` and ``weight_decay`` alone.
    trained
        Every stacked parameter: its name in a learner, its tensor (R, ...), and the replicates that have it.
    """

    def __init__(self, jobs: Sequence[Job], trained: Sequence[tuple[str, Tensor, slice]]) -> None:
        self._jobs = jobs
        self._rule = jobs[0].rule
        texts = [repr((getattr(job.optimizer, "keywords", {}), job.decay_on, job.groups)) for job in jobs]
        plateau = getattr(jobs[0].scheduler, "func", jobs[0].scheduler) is lr_scheduler.ReduceLROnPlateau
        self._together = not plateau and len(set(texts)) == 1
        plans = _plans(jobs, texts)
        self._leaves = [
            _Leaf(name, tensor, rows, [plan[name] for plan in plans[rows]])
            for name, tensor, rows in trained
            if name in plans[rows][0]
        ]
        self._optimizer = jobs[0].optimizer(_groups(self._leaves, together=self._together))
        self._clocks: list[_Clock] = []
        if self._together:
            clock = _Clock(self._optimizer, build_scheduler(jobs[0], self._optimizer))
            self._clocks = [clock] * len(jobs)
        else:
            clocks: dict[object, _Clock] = {}
            for number, (job, plan) in enumerate(zip(jobs, plans, strict=True)):
                key = number if plateau else id(plan)
                clocks[key] = clocks.get(key) or _Clock.alone(job, plan)
                self._clocks.append(clocks[key])
        self._read_rates()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        # What torch's own method does, without its bookkeeping, which costs as much as a layer.
        for leaf in self._leaves:
            leaf.tensor.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move every replicate's parameters."""
        if self._together:
            self._optimizer.step()
            return
        moving = [leaf for leaf in self._leaves if leaf.tensor.grad is not None]
        starts = [leaf.decayed() for leaf in moving]
        self._optimizer.step()
        for leaf, start in zip(moving, starts, strict=True):
            torch.lerp(start, leaf.tensor, leaf.column(leaf.rates), out=leaf.tensor)

    def end_epoch(self, figures: Mapping[str, Any]) -> None:
        """Step the schedulers; a plateau sees its own replicate's figures, by key (R,) each."""
        if self._jobs[0].scheduler is None:
            return
        for clock in dict.fromkeys(self._clocks):
            number = self._clocks.index(clock)
            step_scheduler(clock.scheduler, {key: values[number] for key, values in figures.items()}, self._rule)
        self._read_rates()

    def rates(self, name: str, replicates: slice) -> Tensor:
        """Return the learning rates of a network's parameter, (R,) in float64."""
        return next(leaf.rates for leaf in self._leaves if leaf.name == name)[replicates]

    def shown(self) -> list[float] | None:
        """Return each replicate's learning rate, of its first group, where a scheduler moves it."""
        if self._jobs[0].scheduler is None:
            return None
        return [float(clock.optimizer.param_groups[0]["lr"]) for clock in self._clocks]

    def _read_rates(self) -> None:
        for leaf in self._leaves:
            rates = [
                float(clock.optimizer.param_groups[settings["group"]]["lr"])
                for clock, settings in zip(self._clocks[leaf.rows], leaf.settings, strict=True)
            ]
            leaf.rates = torch.tensor(rates, dtype=torch.float64, device=leaf.tensor.device)


class _Leaf:
    """A stacked parameter and what each replicate's own optimizer says about it."""

    def __init__(self, name: str, tensor: Tensor, rows: slice, settings: Sequence[Settings]) -> None:
        self.name = name
        self.tensor = tensor
        self.rows = rows
        self.settings = settings
        self.rates = torch.empty(0)
        decays = [float(each.get("weight_decay", 0.0)) for each in settings]
        self._decays = torch.tensor(decays, dtype=torch.float64, device=tensor.device) if any(decays) else None

    def column(self, values: Tensor) -> Tensor:
        """Return (R,) values in the shape and dtype that multiply the tensor replicate by replicate."""
        return values.to(self.tensor.dtype).view(-1, *(1,) * (self.tensor.ndim - 1))

    def decayed(self) -> Tensor:
        """Let weight decay act as torch does before a step; return a copy of where the step starts."""
        if self._decays is not None:
            if self.settings[0].get("decoupled_weight_decay"):
                self.tensor.mul_(self.column(1 - self.rates * self._decays))
            else:
                assert self.tensor.grad is not None
                # torch turns the gradient around before it adds the decay.
                sign = -1 if self.settings[0].get("maximize") else 1
                self.tensor.grad.addcmul_(self.tensor, self.column(self._decays), value=sign)
        return self.tensor.clone()


@dataclass(frozen=True, eq=False)
class _Clock:
    """A scheduler and the optimizer that it sets: the stack's own, or one that only holds learning rates."""

    optimizer: torch.optim.Optimizer
    scheduler: Any

    @classmethod
    def alone(cls, job: Job, plan: Mapping[str, Settings]) -> _Clock:
        rates = {settings["group"]: settings["lr"] for settings in plan.values()}
        holder = torch.optim.SGD([{"params": [torch.zeros(1)], "lr": rates[group]} for group in sorted(rates)])
        scheduler = build_scheduler(job, holder)
        holder.step()  # moves nothing; a scheduler warns of an optimizer that has not stepped before it
        return cls(holder, scheduler)


def _plans(jobs: Sequence[Job], texts: Sequence[str]) -> list[dict[str, Settings]]:
    """Return each job's optimizer settings by parameter, and the number of its group; equal ones are one object."""
    plan_of: dict[object, dict[str, Settings]] = {}
    plans = []
    for job, text in zip(jobs, texts, strict=True):
        key = text, tuple(name for name, _ in job.objective.named_parameters())
        if key not in plan_of:
            plan_of[key] = _plan(job)
        plans.append(plan_of[key])
    return plans


def _plan(job: Job) -> dict[str, Settings]:
    names = {id(parameter): f"network.{name}" for name, parameter in job.network.named_parameters()}
    names |= {id(parameter): f"objective.{name}" for name, parameter in job.objective.named_parameters()}
    return {
        names[id(parameter)]: {key: value for key, value in group.items() if key != "params"} | {"group": number}
        for number, group in enumerate(build_optimizer(job).param_groups)
        for parameter in group["params"]
    }


def _groups(leaves: Sequence[_Leaf], *, together: bool) -> list[dict[str, Any]]:
    """Return the parameter groups of one optimizer over all leaves."""
    groups: list[tuple[Settings, list[Tensor]]] = []
    for leaf in leaves:
        wanted = dict(leaf.settings[0])
        if not together:
            wanted |= {
                "group": 0,
                **{key: value for key, value in (("lr", 1.0), ("weight_decay", 0.0)) if key in wanted},
            }
        present = next((tensors for settings, tensors in groups if settings == wanted), None)
        if present is None:
            groups.append((wanted, [leaf.tensor]))
        else:
            present.append(leaf.tensor)
    return [
        {"params": tensors, **{key: value for key, value in settings.items() if key != "group"}}
        for settings, tensors in groups
    ]
