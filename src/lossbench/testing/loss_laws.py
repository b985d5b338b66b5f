"""What every loss obeys, by the facts that its instance states."""

from __future__ import annotations

import itertools
from functools import cache, partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from lossbench.config import compose
from lossbench.errors import CannotServe
from lossbench.objective.loss import Loss
from lossbench.objective.losses.external import External
from lossbench.objective.objective import Objective
from lossbench.objective.prediction import Prediction
from lossbench.objective.regularizer import Step
from lossbench.testing.cases import Case, find_cases, stack
from lossbench.testing.checks import check, check_close, check_finite, check_gradient, check_refuses
from lossbench.testing.judge import Judge

NEEDS = {"priors", "features", "both_classes", "two_rows_of_a_class", "parameters"}


def states_consistent_facts(case: Case) -> None:
    loss = case.bound()
    check(loss.needs <= NEEDS, f"needs {sorted(loss.needs - NEEDS)}, which are none of {sorted(NEEDS)}")
    check(loss.posterior in ("gradient", "calibrator"), f"posterior={loss.posterior!r}")
    check(loss.stackable in ("all", "equal_hyperparameters", "no"), f"stackable={loss.stackable!r}")
    check(loss.smooth == (loss.kinks == ""), f"smooth={loss.smooth} and kinks={loss.kinks!r}")
    check(not (loss.proper and loss.has_class_weight), "proper=True with a class weight of its own")
    check(loss.pointwise or loss.posterior == "calibrator", "posterior='gradient' of a whole batch")
    parameters = [name for name, _ in loss.named_parameters()]
    check(("parameters" in loss.needs) == bool(parameters), f"needs {sorted(loss.needs)} and has {parameters}")
    for name in loss.class_parameters:
        shape = tuple(loss.get_buffer(name).shape)
        check(shape[-1] == case.task.n_classes, f"class parameter {name} has the shape {shape}, classes last")
    check_refuses(lambda: loss.bind(case.task), RuntimeError, "bound", "bound twice")


def shape_and_dtype(case: Case) -> None:
    for dtype in (torch.float32, torch.float64):
        loss = case.bound()
        value = loss(case.predict(loss, case.scores(dtype=dtype)), case.target())
        expected = (7,) if loss.pointwise else ()
        check(
            value.shape == expected,
            f"pointwise={loss.pointwise}, and 7 rows give the shape {tuple(value.shape)}, expected {expected}",
        )
        check(value.dtype == dtype, f"the value is {value.dtype} of {dtype} scores")
        check_finite(value, f"value of {dtype} scores")


def rows_do_not_mix(case: Case) -> None:
    loss = case.bound()
    scores, target = case.scores(), case.target()
    together = loss(case.predict(loss, scores), target)
    if loss.pointwise:
        alone = [loss(case.predict(loss, row[None]), label[None]) for row, label in zip(scores, target, strict=True)]
        check_close(together, torch.cat(alone), "value in a batch, against the row alone", rtol=1e-12, atol=1e-12)
    else:  # the order of the rows does not count
        order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
        prediction = case.predict(loss, scores)
        features = prediction.features[order] if "features" in loss.needs else None
        shuffled = loss(Prediction(scores[order], loss.link, features), target[order])
        check_close(shuffled, together, "value of the rows in another order", rtol=1e-12, atol=1e-12)


def a_mean_is_of_rows(case: Case) -> None:
    loss = case.bound()
    if not isinstance(loss, External) or loss.reduction != "mean":
        return
    prediction, target = case.predict(loss, case.scores()), case.target()
    message = "reduction='mean', value of a batch, against the mean over its rows (pointwise: false is for the others)"
    check_close(loss.reduced(prediction, target), loss(prediction, target).mean(), message, rtol=1e-11, atol=1e-12)


def gradient(case: Case) -> None:
    loss = case.bound()
    random = case.scores(n_rows=8) * min(1, loss.finite_scores / 5)
    points = {"random scores": random}
    if loss.smooth:  # where kinks like to sit: zeros, ties, margins of one, saturation
        margins = torch.ones_like(random)
        margins[:, 0] = -1
        points |= {"scores of 0": torch.zeros_like(random), "margins of 1": margins, "margins of -1": -margins}
        points["margins of 5"] = 5 * margins
    for name, scores in points.items():
        leaf = scores.clone().requires_grad_()
        target = case.target(8)
        value = partial(_value, loss, case, target)
        check_gradient(value, (leaf,), f"at {name}, with kinks={loss.kinks!r}")


def second_derivative(case: Case) -> None:
    """A penalty on input gradients differentiates the gradient again."""
    loss = case.bound()
    target = case.target(4)

    def slope(scores: Tensor) -> Tensor:
        return torch.autograd.grad(_value(loss, case, target, scores).sum(), scores, create_graph=True)[0]

    leaf = (case.scores(n_rows=4) * min(1, loss.finite_scores / 5)).requires_grad_()
    once = slope(leaf)
    if not once.requires_grad:  # linear, piece by piece
        return
    try:
        torch.autograd.grad(once.sum(), leaf, allow_unused=True)
    except RuntimeError as error:
        if "not implemented" not in str(error):  # torch has none of some of its functions
            raise
        return
    check_gradient(slope, (leaf,), f"derivative of the gradient, with kinks={loss.kinks!r}")


def finite_in_float32(case: Case) -> None:
    loss = case.bound()
    extreme = loss.finite_scores
    patterns = itertools.product((-extreme, 0.0, extreme), repeat=case.task.n_scores)
    rows = torch.tensor(list(patterns))
    for label in range(case.task.n_classes):
        scores = rows.clone().requires_grad_()
        target = torch.full((len(rows),), label)
        if not loss.pointwise:
            target[::2] = (label + 1) % case.task.n_classes
        value = loss(case.predict(loss, scores), target)
        value.sum().backward()
        slope = _slope(scores)
        for what, tensor in (("value", value), ("gradient", slope)):
            wrong = (~tensor.isfinite()).reshape(len(tensor) if tensor.ndim else 1, -1).any(dim=1).nonzero().flatten()
            if len(wrong):
                row = int(wrong[0])
                message = f"{what} {tensor[row].tolist() if tensor.ndim else tensor.item()}"
                where = f"scores {rows[row].tolist()}" if tensor.ndim else "some of these scores"
                check(False, f"{message} at {where} for class {label}, within finite_scores={extreme:g} in float32")


def batch_of_one_class_is_finite(case: Case) -> None:
    loss = case.bound()
    k = case.task.n_classes
    batches = {"7 rows": case.scores(), f"{k} rows of scores 0": torch.zeros_like(case.scores(k))}
    for (rows, batch), label in itertools.product(batches.items(), range(k)):
        scores = batch.clone().requires_grad_()
        value = loss(case.predict(loss, scores), torch.full((len(scores),), label))
        value.sum().backward()
        message = f"{rows} of class {label}"
        check_finite(value, f"value of {message}")
        check_finite(_slope(scores), f"gradient of {message}")
        if "both_classes" in loss.needs:
            check(value == 0, f"needs both classes, and is {value:g} for {message}, expected 0")
            check((_slope(scores) == 0).all(), f"needs both classes, and has a gradient for {message}")
            for name, parameter in loss.named_parameters():
                check((parameter.grad == 0).all(), f"needs both classes, and moves {name} for {message}")


def renaming_classes(case: Case) -> None:
    loss, renamed = case.bound(), case.bound()
    ignored = loss.kept(torch.arange(case.task.n_classes))
    if not (loss.symmetric_in_classes or loss.class_parameters) or (ignored is not None and 0 in ignored):
        return
    k = case.task.n_classes
    order = torch.tensor([1, 0] if k == 2 else [2, 0, 3, 1])
    scores, target = case.scores(), case.target()
    for name in () if loss.symmetric_in_classes else loss.class_parameters:
        renamed.get_buffer(name).copy_(loss.get_buffer(name)[..., order])
    # new class j is old class order[j]
    moved = -scores if k == 2 else scores[:, order]
    before = loss(case.predict(loss, scores), target)
    after = renamed(case.predict(renamed, moved), order.argsort()[target])
    claim = "symmetric_in_classes=True" if loss.symmetric_in_classes else f"class_parameters={loss.class_parameters}"
    check_close(after, before, f"{claim}, value with the classes renamed", rtol=1e-11, atol=1e-11)
    if not loss.symmetric_in_classes:  # a claim that nothing needs to be permuted would be wrong
        other = loss(case.predict(loss, moved), order.argsort()[target])
        check(not torch.allclose(other, before), f"{claim}, but renaming the classes changes nothing anyway")


def link_gives_probabilities(case: Case) -> None:
    loss = case.bound()
    link = loss.link
    for size in (1, 30, loss.finite_scores / 4):
        scores = (size * case.scores(9)).clamp(-loss.finite_scores, loss.finite_scores)
        probs, log_probs = link.probs(scores), link.log_probs(scores)
        message = f"{link.name} link of scores of size {size:g}"
        check((probs >= 0).all(), f"{message}: a probability is {probs.min():.3g}")
        check_close(probs.sum(dim=-1), torch.ones_like(probs[:, 0]), f"{message}: sum of a row", rtol=1e-12)
        check_close(log_probs.exp(), probs, f"{message}: exp(log_probs)", rtol=1e-11, atol=1e-15)
        if link.name != "sparsemax":  # whose probabilities may be 0
            check_finite(log_probs, f"{message}: log_probs")
        columns = link.positive_prob(scores)
        shares = columns / columns.sum(dim=-1, keepdim=True) if case.task.n_classes > 2 else columns
        if shares.isfinite().all():  # all columns of one-vs-rest may say no
            check_close(shares, probs[:, -scores.shape[-1] :], f"{message}: positive_prob", rtol=1e-11, atol=1e-15)
        higher = scores.clone()
        higher[:, -1] += 0.01
        rise = (link.probs(higher)[:, -1] - probs[:, -1]).min()
        check(rise >= 0, f"{message}: a higher score makes its class less likely by {-rise:.3g}")


def link_has_a_gradient(case: Case) -> None:
    """A penalty on outputs differentiates the probabilities."""
    loss = case.bound()
    scores = (case.scores(n_rows=8) * min(1, loss.finite_scores / 5)).requires_grad_()
    check_gradient(loss.link.probs, (scores,), f"probabilities of the {loss.link.name} link")


def stacked_equals_a_loop(case: Case) -> None:
    one, two = Judge(case.bound()), Judge(case.varied())
    if one.loss.stackable == "no":
        return
    parameters, buffers, base = stack([one, two])
    scores = torch.stack([case.scores(seed=1), case.scores(seed=2)])
    target = torch.stack([case.target(), case.target().flip(0)])
    features = torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def value(p: dict[str, Tensor], b: dict[str, Tensor], s: Tensor, t: Tensor, f: Tensor) -> Tensor:
        result: Tensor = functional_call(base, (p, b), (s, t, f))
        return result

    def slope(p: dict[str, Tensor], b: dict[str, Tensor], s: Tensor, t: Tensor, f: Tensor) -> Tensor:
        result: Tensor = grad(lambda x: value(p, b, x, t, f).sum())(s)
        return result

    stacked = vmap(value)(parameters, buffers, scores, target, features)
    slopes = vmap(slope)(parameters, buffers, scores, target, features)
    message = f"stackable={one.loss.stackable!r}"
    for i, judge in enumerate((one, two)):
        leaf = scores[i].clone().requires_grad_()
        alone = judge(leaf, target[i], features[i])
        alone.sum().backward()
        check_close(stacked[i], alone.detach(), f"{message}, value of replicate {i}", rtol=1e-12, atol=1e-12)
        check_close(slopes[i], _slope(leaf), f"{message}, gradient of replicate {i}", rtol=1e-12, atol=1e-12)


def numbers_are_buffers_where_all_can_be_stacked(case: Case) -> None:
    loss = case.bound()
    if loss.stackable != "all":
        return
    names = {name.rsplit(".")[-1]: buffer for name, buffer in loss.named_buffers()}
    for name in case.numbers():
        check(name in names, f"stackable='all', but {name} is no buffer")
        check(names[name].dtype == torch.float64, f"stackable='all', but {name} is a {names[name].dtype} buffer")


def state_dict_round_trip(case: Case) -> None:
    varied, fresh = case.varied(), case.bound()
    for parameter in varied.parameters():
        nn.init.constant_(parameter, 0.3)
    fresh.load_state_dict(varied.state_dict())
    scores, target = case.scores(), case.target()
    value = fresh(case.predict(fresh, scores), target)
    check_close(value, varied(case.predict(varied, scores), target), "value after loading another's state")


def every_weighting_serves_or_is_refused(case: Case) -> None:
    for other in _weightings():
        if other.task_name != case.task_name:
            continue
        loss, weighting = case.build(), other.build()
        if not weighting.neutral and (not loss.pointwise or loss.has_class_weight):
            check_refuses(
                partial(Objective, loss, weighting, {}, case.task),
                CannotServe,
                loss.name,
                f"with weighting/{other.name}",
            )
            continue
        objective = Objective(loss, weighting, {}, case.task)
        objective.at_epoch(9)
        scores = case.scores().requires_grad_()
        terms = objective(Step({}, scores, None, case.predict(loss, scores), case.target()))
        check(list(terms) == ["loss", "objective"], f"with weighting/{other.name} the terms are {list(terms)}")
        check_close(terms["objective"], terms["loss"], f"with weighting/{other.name}, objective without penalties")
        check(terms["loss"].shape == (), f"with weighting/{other.name} the loss is {tuple(terms['loss'].shape)}")
        terms["objective"].backward()
        check_finite(_slope(scores), f"gradient with weighting/{other.name}")


@cache
def _weightings() -> list[Case]:
    return find_cases(compose.conf_dir() / "weighting" / "*.yaml", {"balanced": [{"by": "count"}, {"start": 3}]})


def _value(loss: Loss, case: Case, target: Tensor, scores: Tensor) -> Tensor:
    value: Tensor = loss(case.predict(loss, scores), target)
    return value


def _slope(scores: Tensor) -> Tensor:
    return torch.zeros_like(scores) if scores.grad is None else scores.grad
