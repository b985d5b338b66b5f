"""Penalties on single weights."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from lossbench.objective.hyperparameters import number, switch
from lossbench.objective.regularizer import Regularizer, Step
from lossbench.objective.schedule import Schedule


class L1(Regularizer):
    """strength * sum |w| over the weight matrices; biases and normalisation layers are none.

    It pulls every weight towards 0 at the same rate. A gradient step does not stop at 0, so weights come near it
    and cross it; with ``proximal`` each step of the optimizer is followed by soft thresholding,
    w <- sign(w) max(|w| - rate * strength, 0), which makes true zeros. After plain SGD that is proximal gradient
    descent on the same objective (ISTA). An optimizer that scales its steps (Adam, RMSprop) is followed by the
    same threshold at its learning rate, and so its stationary points are others: a weight rests where its
    *scaled* gradient is the strength.

    Source: Tibshirani 1996, https://doi.org/10.1111/j.2517-6161.1996.tb02080.x; proximal: Daubechies et al. 2004,
    https://doi.org/10.1002/cpa.20042.

    Parameters
    ----------
    strength
        >= 0; 0 is no penalty.
    proximal
        Threshold after each step; the penalty is reported and not differentiated.
    schedule, until
        See :class:`lossbench.objective.regularizer.Regularizer`.

    Examples
    --------
    >>> import torch
    >>> step = Step({"w": torch.tensor([[1.0, -2.0]])}, None, None, None, None)
    >>> L1(strength=0.5).penalty(step)
    tensor(1.5000)
    >>> L1(strength=0.5, proximal=True).shrunk(step.weights, {"w": 3.0})["w"]
    tensor([[ 0.0000, -0.5000]])
    """

    def __init__(
        self, strength: float, proximal: bool = False, schedule: Schedule = "constant", until: int | None = None
    ) -> None:
        super().__init__(strength, schedule, until)
        self.acts_after_step = switch(self.name, "proximal", proximal)

    def measure(self, step: Step) -> Tensor:
        return total(step, [weight.abs().sum() for weight in step.weights.values()])

    def shrunk(self, weights: Mapping[str, Tensor], rates: Mapping[str, float | Tensor]) -> dict[str, Tensor]:
        if not self.acts_after_step:
            return {}
        strength = self.present_strength
        return {
            name: weight.sign() * (weight.abs() - (rates[name] * strength).to(weight.dtype)).clamp(min=0)
            for name, weight in weights.items()
        }


class L2(Regularizer):
    """strength / 2 * sum w^2 over the weight matrices; biases and normalisation layers are none.

    Its gradient is strength * w, so torch's ``weight_decay=strength`` on the same parameters is the same step by
    step in SGD and Adam (and RMSprop); in AdamW, which decays apart from the gradient, it is not.

    Source: Hoerl & Kennard 1970, https://doi.org/10.1080/00401706.1970.10488634.

    Parameters
    ----------
    strength
        >= 0; 0 is no penalty.
    schedule, until
        See :class:`lossbench.objective.regularizer.Regularizer`.

    Examples
    --------
    >>> import torch
    >>> step = Step({"w": torch.tensor([[1.0, -2.0]])}, None, None, None, None)
    >>> L2(strength=0.5).penalty(step)
    tensor(1.2500)
    """

    def measure(self, step: Step) -> Tensor:
        return total(step, [weight.square().sum() / 2 for weight in step.weights.values()])


class ElasticNet(Regularizer):
    """strength * (r sum |w| + (1 - r) / 2 sum w^2) over the weight matrices, r = ``l1_ratio``.

    As scikit-learn's ElasticNet has it. r = 1 is L1, r = 0 is L2.

    Source: Zou & Hastie 2005, https://doi.org/10.1111/j.1467-9868.2005.00503.x.

    Parameters
    ----------
    strength
        >= 0; 0 is no penalty.
    l1_ratio
        0 <= l1_ratio <= 1.
    schedule, until
        See :class:`lossbench.objective.regularizer.Regularizer`.

    Examples
    --------
    >>> import torch
    >>> step = Step({"w": torch.tensor([[1.0, -2.0]])}, None, None, None, None)
    >>> ElasticNet(strength=1.0, l1_ratio=0.5).penalty(step)  # (3 + 5 / 2) / 2
    tensor(2.7500)
    """

    l1_ratio: Tensor

    def __init__(
        self, strength: float, l1_ratio: float = 0.5, schedule: Schedule = "constant", until: int | None = None
    ) -> None:
        super().__init__(strength, schedule, until)
        self.register_buffer("l1_ratio", number(self.name, "l1_ratio", l1_ratio, at_least=0, at_most=1))

    def measure(self, step: Step) -> Tensor:
        return total(step, [self._of(weight) for weight in step.weights.values()])

    def _of(self, weight: Tensor) -> Tensor:
        ratio = self.l1_ratio.to(weight.dtype)
        return ratio * weight.abs().sum() + (1 - ratio) / 2 * weight.square().sum()


def total(step: Step, terms: list[Tensor]) -> Tensor:
    """Return the sum of scalar terms; zero for a network without weight matrices."""
    return sum(terms[1:], start=terms[0]) if terms else step.prediction.scores.new_zeros(())
