"""The objective: weighted means, ignored rows, terms, refusals, and what happens after a step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap

from lossbench.errors import CannotServe
from lossbench.objective.links import Softmax
from lossbench.objective.loss import Loss
from lossbench.objective.losses.external import External
from lossbench.objective.losses.focus import Focal
from lossbench.objective.losses.likelihood import bce_with_logits, cross_entropy
from lossbench.objective.objective import Objective
from lossbench.objective.regularizer import Regularizer, Step
from lossbench.objective.regularizers.weights import L1, L2
from lossbench.objective.weighting import Balanced, Explicit, NoWeighting
from lossbench.task import Task

THREE = Task(2, ("a", "b", "c"), (6, 3, 1))
TWO = Task(2, ("a", "b"), (6, 2))
SCORES = torch.randn(8, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
TARGET = torch.tensor([0, 1, 2, 0, 0, 1, 2, 1])


def mean_loss(loss, weighting, scores=SCORES, target=TARGET, task=THREE):
    objective = Objective(loss, weighting, {}, task)
    return objective.mean_loss(objective.predict(scores), target)


def test_by_weights_is_sklearn_and_torch():
    vector = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
    value = mean_loss(cross_entropy(), Explicit([1, 2, 5]))
    by_sklearn = log_loss(TARGET, SCORES.softmax(dim=1), sample_weight=vector[TARGET])
    assert value.item() == pytest.approx(by_sklearn, rel=1e-12)
    assert value.item() == pytest.approx(nn.CrossEntropyLoss(weight=vector)(SCORES, TARGET).item(), rel=1e-12)


def test_by_count_is_pos_weight():
    scores, target = SCORES[:, :1], TARGET % 2
    by_vector = mean_loss(bce_with_logits(), Explicit([1, 30], by="count"), scores, target, TWO)
    by_pos_weight = mean_loss(bce_with_logits(30), NoWeighting(), scores, target, TWO)
    torch.testing.assert_close(by_vector, by_pos_weight, rtol=1e-12, atol=0)


def test_balanced_is_sklearns():
    weighting = Balanced()
    weighting.bind(THREE)
    rows = [0] * 6 + [1] * 3 + [2]
    expected = compute_class_weight("balanced", classes=np.arange(3), y=rows)
    torch.testing.assert_close(weighting.class_weights, torch.as_tensor(expected), rtol=1e-14, atol=0)


def test_deferred_weights_wait():
    objective = Objective(cross_entropy(), Explicit([1, 2, 5], start=2), {}, THREE)
    plain = nn.CrossEntropyLoss()(SCORES, TARGET)
    objective.at_epoch(1)
    torch.testing.assert_close(objective.mean_loss(objective.predict(SCORES), TARGET), plain)
    assert objective.class_weights.tolist() == [1, 1, 1]
    objective.at_epoch(2)
    assert objective.mean_loss(objective.predict(SCORES), TARGET) != plain
    assert objective.class_weights.tolist() == [1, 2, 5]
    assert Objective(cross_entropy(), NoWeighting(), {}, THREE).class_weights is None


def test_wrong_weightings_are_named():
    with pytest.raises(ValueError, match=r"Explicit needs vector\[1\] > 0, got vector\[1\]=-2"):
        Explicit([1, -2])
    with pytest.raises(ValueError, match="Balanced needs by to be one of weights, count, got by='rows'"):
        Balanced(by="rows")
    with pytest.raises(ValueError, match=r"Balanced needs start to be a whole epoch, got start=0.5"):
        Balanced(start=0.5)
    with pytest.raises(CannotServe, match="Explicit has 2 class weights, the task has 3 classes"):
        mean_loss(cross_entropy(), Explicit([1, 2]))


@pytest.mark.parametrize("weighting", [None, "weights", "count"])
def test_ignored_rows_leave_the_mean_and_its_denominator(weighting):
    def build():
        return NoWeighting() if weighting is None else Explicit([1, 2, 5], by=weighting)

    few = mean_loss(cross_entropy(ignore_index=-100), build(), SCORES[:5], TARGET[:5])
    target = torch.where(torch.arange(8) < 5, TARGET, -100)
    value = mean_loss(cross_entropy(ignore_index=-100), build(), SCORES, target)
    torch.testing.assert_close(value, few, rtol=1e-12, atol=0)
    if weighting is None:
        torch.testing.assert_close(few, nn.CrossEntropyLoss()(SCORES, target), rtol=1e-12, atol=0)


def test_a_batch_of_ignored_rows_moves_nothing():
    leaf = SCORES.clone().requires_grad_()
    value = mean_loss(cross_entropy(ignore_index=-100), NoWeighting(), leaf, torch.full((8,), -100))
    value.backward()
    assert value == 0
    assert (leaf.grad == 0).all()


def test_nll_ignores_too():
    nll = External(nn.NLLLoss(reduction="none"), reads="log_probs", target="index", ignore_index=-100)
    target = torch.where(torch.arange(8) < 5, TARGET, -100)
    torch.testing.assert_close(mean_loss(nll, NoWeighting(), SCORES, target), nn.CrossEntropyLoss()(SCORES, target))


def step_for(objective, weights):
    return Step(weights, SCORES, None, objective.predict(SCORES), TARGET)


def test_terms_and_their_sum():
    objective = Objective(cross_entropy(), NoWeighting(), {"l1": L1(0.1), "l2": L2(0.01)}, THREE)
    terms = objective(step_for(objective, {"w": torch.tensor([[1.0, -3.0]], dtype=torch.float64)}))
    assert list(terms) == ["loss", "l1", "l2", "objective"]
    assert terms["l1"].item() == pytest.approx(0.4)
    assert terms["l2"].item() == pytest.approx(0.05)
    assert terms["objective"].item() == pytest.approx(terms["loss"].item() + 0.45)


def test_no_weight_matrices_no_penalty():
    objective = Objective(cross_entropy(), NoWeighting(), {"l1": L1(0.1)}, THREE)
    assert objective(step_for(objective, {}))["l1"] == 0


class Ascent(Loss):
    """A whole-batch loss with a parameter that a projection keeps non-negative."""

    link = Softmax()
    pointwise = False
    needs = frozenset({"parameters", "both_classes"})
    acts_after_step = True

    def __init__(self):
        super().__init__()
        self.alpha = nn.Parameter(torch.tensor(-2.0, dtype=torch.float64))

    def forward(self, prediction, target):
        rising = 2 * self.alpha.detach() - self.alpha
        return rising * prediction.scores.mean()

    def projected(self, parameters):
        return {"alpha": parameters["alpha"].clamp(min=0)}


class Shrink(Regularizer):
    """Halves every weight after a step, times its learning rate."""

    needs = frozenset({"input_gradient"})
    acts_after_step = True

    def measure(self, step):
        return step.input_gradient().square().sum()

    def shrunk(self, weights, rates):
        return {name: weight * rates[name] / 2 for name, weight in weights.items()}


def test_after_a_step():
    objective = Objective(Ascent(), NoWeighting(), {"shrink": Shrink(1)}, THREE)
    assert objective.acts_after_step
    assert objective.needs == {"parameters", "both_classes", "input_gradient"}
    weight = nn.Parameter(torch.tensor([[4.0]]))
    objective.after_step({"w": weight}, {"w": 0.5})
    assert objective.loss.alpha == 0
    assert weight.item() == 1
    plain = Objective(cross_entropy(), NoWeighting(), {"l1": L1(1)}, THREE)
    assert not plain.acts_after_step
    plain.after_step({"w": weight}, {"w": 0.5})
    assert weight.item() == 1


def test_refusals():
    with pytest.raises(CannotServe, match="Ascent judges whole batches and takes no weighting, got Balanced"):
        Objective(Ascent(), Balanced(), {}, THREE)
    with pytest.raises(CannotServe, match="Focal has a class weight of its own; with Balanced it needs"):
        Objective(Focal(alpha=0.75), Balanced(), {}, TWO)
    Objective(Focal(alpha=0.75), Balanced(), {}, TWO, allow_double=True)
    Objective(Focal(alpha=0.75), NoWeighting(), {}, TWO)
    Objective(Focal(), Balanced(), {}, TWO)
    with pytest.raises(ValueError, match="loss needs a lossbench Loss, got CrossEntropyLoss"):
        Objective(nn.CrossEntropyLoss(), Balanced(), {}, TWO)
    with pytest.raises(ValueError, match="weighting needs a lossbench Weighting, got str"):
        Objective(Focal(), "balanced", {}, TWO)
    with pytest.raises(ValueError, match=r"regularizer\.l1 needs a lossbench Regularizer, got float"):
        Objective(Focal(), Balanced(), {"l1": 0.1}, TWO)
    with pytest.raises(ValueError, match="cannot be named 'loss'"):
        Objective(Focal(), Balanced(), {"loss": L1(1)}, TWO)


class Run(nn.Module):
    """A network and its objective: what the batched engine stacks."""

    def __init__(self, seed, gamma, start, strength):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = nn.Linear(3, 3, dtype=torch.float64)
        weighting = Explicit([1, 2, 5 * gamma], start=start)
        self.objective = Objective(Focal(gamma), weighting, {"l2": L2(strength)}, THREE)

    def forward(self, inputs, target):
        prediction = self.objective.predict(self.network(inputs))
        return self.objective(Step({"w": self.network.weight}, inputs, None, prediction, target))


def test_stacked_objectives_equal_a_loop():
    runs = [Run(0, 2.0, 0, 0.1), Run(1, 0.7, 5, 0.3), Run(2, 1.0, 0, 0.0)]
    for run in runs:
        run.objective.at_epoch(3)
    parameters, buffers = stack_module_state(runs)

    def terms(p, b):
        return functional_call(runs[0], (p, b), (SCORES, TARGET))

    def slopes(p, b):
        return grad(lambda q: terms(q, b)["objective"])(p)

    stacked, stacked_slopes = vmap(terms)(parameters, buffers), vmap(slopes)(parameters, buffers)
    for i, run in enumerate(runs):
        alone = run(SCORES, TARGET)
        for name, term in alone.items():
            torch.testing.assert_close(stacked[name][i], term, rtol=1e-12, atol=1e-12)
        alone["objective"].backward()
        for name, parameter in run.named_parameters():
            torch.testing.assert_close(stacked_slopes[name][i], parameter.grad, rtol=1e-12, atol=1e-12)
