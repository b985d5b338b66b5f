"""What every data source obeys."""

from __future__ import annotations

import numpy as np
import torch

from lossbench.testing.cases import Case
from lossbench.testing.checks import check, check_refuses


def draws_the_same_rows_again(case: Case) -> None:
    first = case.build(source_seed=3).draw()
    torch.rand(7)  # moves the global generators, which must not matter
    np.random.random(7)  # noqa: NPY002 the global generator is what the law is about
    check(case.build(source_seed=3).draw().digest == first.digest, "source_seed=3 draws other rows the second time")


def seeds_are_what_it_says(case: Case) -> None:
    one, other = (case.build(source_seed=seed) for seed in (0, 1))
    check(one.seeds in ("draws", "splits"), f"seeds is one of draws, splits, got {one.seeds!r}")
    if one.seeds == "draws":
        check(one.draw().digest != other.draw().digest, "seeds='draws', but source_seed=0 and 1 draw the same rows")


def splits_are_apart(case: Case) -> None:
    dataset = case.build(split_seed=2).prepare()
    test = dataset.test if dataset.test is not None and case.build().draw().test is None else None
    parts = {"train": dataset.train, "val": dataset.val} | ({} if test is None else {"test": test})
    seen: dict[int, str] = {}
    for name, rows in parts.items():
        for index in rows.index.tolist():
            check(index not in seen, f"row {index} is in {name} and in {seen.get(index)}")
            seen[index] = name
    for name, rows in {**parts, **({} if dataset.test is None else {"test": dataset.test})}.items():
        counts = np.bincount(rows.y, minlength=dataset.task.n_classes)
        check((counts > 0).all(), f"{name} has {counts.tolist()} rows of {list(dataset.task.class_names)}")
    other = case.build(split_seed=5).prepare()
    check(not np.array_equal(other.val.index, dataset.val.index), "split_seed=2 and 5 validate on the same rows")


def columns_are_numbers(case: Case) -> None:
    dataset = case.build().prepare()
    n_features = dataset.task.n_features
    check(len(dataset.feature_names) == n_features, f"{len(dataset.feature_names)} names of {n_features} columns")
    for name, rows in (("train", dataset.train), ("val", dataset.val), ("test", dataset.test)):
        if rows is None:
            continue
        check(
            rows.x.shape == (len(rows), n_features),
            f"{name} has the shape {rows.x.shape}, expected {n_features} columns",
        )
        check(rows.x.dtype == np.float64, f"{name} has the dtype {rows.x.dtype}, expected float64")
        check(np.isfinite(rows.x).all(), f"{name} has values that are not finite")


def the_bayes_rule_is_a_posterior(case: Case) -> None:
    dataset = case.build().prepare()
    if dataset.bayes is None:
        return
    rows = dataset.train if dataset.test is None else dataset.test
    probs = dataset.bayes(dataset.raw(rows))
    expected = (len(rows), dataset.task.n_classes)
    check(probs.shape == expected, f"bayes gives the shape {probs.shape}, expected {expected}")
    check((probs >= 0).all() and np.allclose(probs.sum(axis=1), 1), "bayes gives rows that are no probabilities")
    prob_of_class = probs[np.arange(len(rows)), rows.y]
    share = np.bincount(rows.y, minlength=dataset.task.n_classes) / len(rows)
    loss, floor = -np.log(prob_of_class.clip(1e-300)).mean(), -(share * np.log(share.clip(1e-300))).sum()
    check(loss < floor, f"bayes has the log loss {loss:.4g}, and the class shares alone {floor:.4g}")


def refuses_a_split_without_validation(case: Case) -> None:
    check_refuses(lambda: case.build(val=0), ValueError, "val", "val=0, on which no epoch could be selected")
