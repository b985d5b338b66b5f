"""What every metric of the final evaluation obeys."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lossbench.testing.cases import Case
from lossbench.testing.checks import check


def gives_a_number(case: Case) -> None:
    for key, value in _measured(case, *_rows(case)).items():
        check(math.isfinite(value), f"{key} is {value} for 40 rows of all classes")


def order_of_rows_does_not_count(case: Case) -> None:
    target, probs = _rows(case)
    order = np.random.default_rng(1).permutation(len(target))
    _compare(
        _measured(case, target[order], probs[order]), _measured(case, target, probs), "of the rows in another order"
    )


def forgets_what_it_saw(case: Case) -> None:
    collection = case.collection()
    target, probs = _rows(case)
    first = _of(case, collection, target, probs)
    _of(case, collection, target[:20], probs[:20][:, ::-1])
    _compare(_of(case, collection, target, probs), first, "after it has seen another split")


def says_which_way_is_better(case: Case) -> None:
    target, probs = _rows(case)
    right = np.eye(case.task.n_classes)[target]
    good, poor = _measured(case, target, 0.98 * right + 0.02 * probs), _measured(case, target, probs)
    for name, metric in case.collection().items():
        written = case.config[name].get("better")
        better = metric.higher_is_better if written is None else written == "max"
        check(isinstance(better, bool), f"{name}.higher_is_better is {better!r}, expected true or false")
        for key in good:
            if key == name or key.startswith(f"{name}/"):
                holds = good[key] >= poor[key] if better else good[key] <= poor[key]
                check(
                    holds,
                    f"higher_is_better={better}, but {key} is {good[key]:.4g} when right, {poor[key]:.4g} at random",
                )


def _rows(case: Case) -> tuple[Any, Any]:
    draw = np.random.default_rng(0)
    target = np.arange(40) % case.task.n_classes
    return target, draw.dirichlet(np.ones(case.task.n_classes), size=40)


def _measured(case: Case, target: Any, probs: Any) -> dict[str, float]:
    return _of(case, case.collection(), target, probs)


def _of(case: Case, collection: Any, target: Any, probs: Any) -> dict[str, float]:
    from lossbench.evaluation.collection import measure

    return measure(collection, target, probs, case.task)


def _compare(actual: dict[str, float], expected: dict[str, float], when: str) -> None:
    for key, value in expected.items():
        check(
            math.isclose(actual[key], value, rel_tol=1e-9, abs_tol=1e-12),
            f"{key} {when} is {actual[key]}, and was {value}",
        )
