"""What every loss obeys, by the facts that its instance states."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from lossbench.errors import CannotServe
from lossbench.objective.posterior import posterior
from lossbench.objective.prediction import Prediction

TRUTHS = {
    2: ((0.9677, 0.0323), (0.8, 0.2), (0.3, 0.7), (0.05, 0.95)),
    4: ((0.7, 0.2, 0.07, 0.03), (0.1, 0.05, 0.25, 0.6)),
}
NEEDS = {"priors", "features", "both_classes", "two_rows_of_a_class", "parameters"}


class Judge(nn.Module):
    """A loss as a function of raw scores, so that stacking swaps the buffers of its link too."""

    def __init__(self, loss):
        super().__init__()
        self.loss = loss

    def forward(self, scores, target, features):
        features = features if "features" in self.loss.needs else None
        return self.loss(Prediction(scores, self.loss.link, features), target)


def test_states_consistent_facts(loss_case):
    loss = loss_case.bound()
    assert loss.needs <= NEEDS
    assert loss.posterior in ("gradient", "calibrator")
    assert loss.stackable in ("all", "equal_hyperparameters", "no")
    assert loss.smooth == (loss.kinks == "")
    assert not (loss.proper and loss.has_class_weight)
    assert loss.pointwise or loss.posterior == "calibrator"
    assert ("parameters" in loss.needs) == bool(list(loss.parameters()))
    for name in loss.class_parameters:
        assert loss.get_buffer(name).shape[-1] == loss_case.task.n_classes
    with pytest.raises(RuntimeError, match="bound"):
        loss.bind(loss_case.task)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shape_and_dtype(loss_case, dtype):
    loss = loss_case.bound()
    value = loss(loss_case.predict(loss, loss_case.scores(dtype=dtype)), loss_case.target())
    assert value.shape == ((7,) if loss.pointwise else ())
    assert value.dtype == dtype
    assert value.isfinite().all()


def test_rows_do_not_mix(loss_case):
    loss = loss_case.bound()
    scores, target = loss_case.scores(), loss_case.target()
    together = loss(loss_case.predict(loss, scores), target)
    if loss.pointwise:
        alone = [
            loss(loss_case.predict(loss, row[None]), label[None]) for row, label in zip(scores, target, strict=True)
        ]
        torch.testing.assert_close(torch.cat(alone), together, rtol=1e-12, atol=1e-12)
    else:  # the order of the rows does not count
        order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
        prediction = loss_case.predict(loss, scores)
        features = prediction.features[order] if "features" in loss.needs else None
        shuffled = loss(Prediction(scores[order], loss.link, features), target[order])
        torch.testing.assert_close(shuffled, together, rtol=1e-12, atol=1e-12)


def test_gradient(loss_case):
    loss = loss_case.bound()
    random = loss_case.scores(n_rows=8) * min(1, loss.finite_scores / 5)
    points = [random]
    if loss.smooth:  # where kinks like to sit: zeros, ties, margins of one, saturation
        ties = torch.zeros_like(random)
        margins = torch.ones_like(random)
        margins[:, 0] = -1
        points += [ties, margins, -margins, 5 * margins]
    for scores in points:
        leaf = scores.clone().requires_grad_()
        target = loss_case.target(8)
        assert torch.autograd.gradcheck(lambda s, t=target: loss(loss_case.predict(loss, s), t), (leaf,))


def test_finite_in_float32(loss_case):
    loss = loss_case.bound()
    extreme = loss.finite_scores
    patterns = itertools.product((-extreme, 0.0, extreme), repeat=loss_case.task.n_scores)
    rows = torch.tensor(list(patterns))
    for label in range(loss_case.task.n_classes):
        scores = rows.clone().requires_grad_()
        target = torch.full((len(rows),), label)
        if not loss.pointwise:
            target[::2] = (label + 1) % loss_case.task.n_classes
        value = loss(loss_case.predict(loss, scores), target)
        value.sum().backward()
        assert value.isfinite().all(), f"{value} for class {label}"
        assert scores.grad.isfinite().all(), f"{scores.grad} for class {label}"


def test_batch_of_one_class_is_finite(loss_case):
    loss = loss_case.bound()
    for label in range(loss_case.task.n_classes):
        scores = loss_case.scores().requires_grad_()
        value = loss(loss_case.predict(loss, scores), torch.full((7,), label))
        value.sum().backward()
        assert value.isfinite().all()
        assert scores.grad.isfinite().all()
        if "both_classes" in loss.needs:
            assert value == 0
            assert (scores.grad == 0).all()
            assert all((parameter.grad == 0).all() for parameter in loss.parameters())


def test_renaming_classes(loss_case):
    loss, renamed = loss_case.bound(), loss_case.bound()
    ignored = loss.kept(torch.arange(loss_case.task.n_classes))
    if not (loss.symmetric_in_classes or loss.class_parameters) or (ignored is not None and 0 in ignored):
        return
    k = loss_case.task.n_classes
    order = torch.tensor([1, 0] if k == 2 else [2, 0, 3, 1])
    scores, target = loss_case.scores(), loss_case.target()
    for name in () if loss.symmetric_in_classes else loss.class_parameters:
        renamed.get_buffer(name).copy_(loss.get_buffer(name)[..., order])
    # new class j is old class order[j]
    moved = -scores if k == 2 else scores[:, order]
    features = loss_case.predict(loss, scores)
    torch.testing.assert_close(
        renamed(loss_case.predict(renamed, moved), order.argsort()[target]),
        loss(features, target),
        rtol=1e-11,
        atol=1e-11,
    )
    if not loss.symmetric_in_classes:  # a claim that nothing needs to be permuted would be wrong
        other = loss(loss_case.predict(loss, moved), order.argsort()[target])
        assert not torch.allclose(other, loss(features, target))


def test_proper_exactly_where_claimed(loss_case):
    loss = loss_case.bound()
    if not loss.pointwise or "features" in loss.needs:
        assert not loss.proper
        return
    gaps = []
    for truth in TRUTHS[loss_case.task.n_classes]:
        eta = torch.tensor(truth, dtype=torch.float64)
        gaps.append((loss.link.probs(minimum(loss, eta))[0] - eta).abs().max().item())
    assert (max(gaps) < 1e-4) == loss.proper, f"proper={loss.proper}, but the minimum is off by {gaps}"


def test_posterior_recovers_skewed_truths(loss_case):
    loss = loss_case.bound()
    if loss.posterior != "gradient":
        with pytest.raises(CannotServe, match="posterior"):
            posterior(loss, loss_case.scores())
        return
    k = loss_case.task.n_classes
    weights = torch.linspace(1, 3, k, dtype=torch.float64)
    rates = torch.linspace(2, 0.5, k, dtype=torch.float64)
    for truth in TRUTHS[k]:
        eta = torch.tensor(truth, dtype=torch.float64)
        found = posterior(loss, minimum(loss, eta))
        torch.testing.assert_close(found[0], eta, rtol=0, atol=1e-4)
        seen = eta * weights * rates
        found = posterior(loss, minimum(loss, seen / seen.sum()), weights, rates)
        torch.testing.assert_close(found[0], eta, rtol=0, atol=2e-4)


def test_posterior_rises_with_the_score(loss_case):
    loss = loss_case.bound()
    if loss.posterior != "gradient":
        return
    line = torch.linspace(-8, 8, 321, dtype=torch.float64)
    scores = loss_case.scores(1).repeat(len(line), 1)
    scores[:, -1] = line
    found = posterior(loss, scores)[:, -1]
    assert (found.diff() >= -1e-9).all()
    assert found[-1] - found[0] > 0.2  # one-vs-rest columns share with the others


def test_stacked_equals_a_loop(loss_case, copies):
    one, two = Judge(loss_case.bound()), Judge(loss_case.varied())
    if one.loss.stackable == "no":
        return
    parameters, buffers, base = copies([one, two])
    scores = torch.stack([loss_case.scores(seed=1), loss_case.scores(seed=2)])
    target = torch.stack([loss_case.target(), loss_case.target().flip(0)])
    features = torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def value(p, b, s, t, f):
        return functional_call(base, (p, b), (s, t, f))

    def slope(p, b, s, t, f):
        return grad(lambda x: functional_call(base, (p, b), (x, t, f)).sum())(s)

    stacked = vmap(value)(parameters, buffers, scores, target, features)
    slopes = vmap(slope)(parameters, buffers, scores, target, features)
    for i, judge in enumerate((one, two)):
        leaf = scores[i].clone().requires_grad_()
        alone = judge(leaf, target[i], features[i])
        alone.sum().backward()
        torch.testing.assert_close(stacked[i], alone.detach(), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(slopes[i], leaf.grad, rtol=1e-12, atol=1e-12)


def test_numbers_are_buffers_where_all_can_be_stacked(loss_case):
    loss = loss_case.bound()
    if loss.stackable != "all":
        return
    names = {name.rsplit(".")[-1]: buffer for name, buffer in loss.named_buffers()}
    for name in loss_case.numbers():
        assert names[name].dtype == torch.float64


def test_state_dict_round_trip(loss_case):
    varied, fresh = loss_case.varied(), loss_case.bound()
    for parameter in varied.parameters():
        nn.init.constant_(parameter, 0.3)
    fresh.load_state_dict(varied.state_dict())
    scores, target = loss_case.scores(), loss_case.target()
    torch.testing.assert_close(
        fresh(loss_case.predict(fresh, scores), target),
        varied(loss_case.predict(varied, scores), target),
        rtol=0,
        atol=0,
    )


def minimum(loss, eta: Tensor) -> Tensor:
    """Return the scores (1, n) at which the expected loss under the posterior eta is least."""
    labels = torch.arange(len(eta))

    def risk(scores: Tensor) -> Tensor:
        rows = scores.repeat_interleave(len(eta), dim=0)
        values = loss(Prediction(rows, loss.link), labels.repeat(len(scores)))
        return (values.reshape(len(scores), -1) * eta).sum(dim=-1)

    if len(eta) == 2:  # a grid, zoomed in on: needs no derivative
        middle, width = 0.0, 40.0
        while width > 1e-9:
            grid = torch.linspace(middle - width, middle + width, 201, dtype=torch.float64)
            middle = grid[risk(grid[:, None]).argmin()].item()
            width /= 20
        return torch.tensor([[middle]], dtype=torch.float64)
    scores = torch.zeros(1, len(eta), dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS(
        [scores], max_iter=500, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        search.zero_grad()
        value = risk(scores).sum()
        value.backward()
        return value

    search.step(closure)
    return scores.detach()
