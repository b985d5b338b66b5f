"""Batches serve what the objective needs, and the posterior undoes how they were drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lossbench.data.rings import Rings
from lossbench.errors import CannotServe
from lossbench.objective.losses.external import External
from lossbench.objective.losses.likelihood import cross_entropy
from lossbench.objective.objective import Objective
from lossbench.objective.weighting import NoWeighting
from lossbench.runs.train import evaluate_job
from lossbench.training.job import batch_order
from lossbench.training.selection import Rule


class SeenTargets:
    """A whole-batch loss that notes the classes of each training batch."""

    def __init__(self):
        self.batches = []

    def __call__(self, logits, target):
        if torch.is_grad_enabled():
            self.batches.append(target.bincount(minlength=2).tolist())
        return torch.nn.functional.cross_entropy(logits, target)

    def loss(self, *needs):
        return External(self, reads="logits", target="index", pointwise=False, needs=needs)


def order_of(dataset, *needs):
    return batch_order(dataset, Objective(SeenTargets().loss(*needs), NoWeighting(), {}, dataset.task))


@pytest.mark.parametrize("need", ["both_classes", "two_rows_of_a_class"])
def test_a_declared_need_decides_the_order(rings, need):
    assert order_of(rings) == "shuffled"
    assert order_of(rings, need) == "stratified"
    assert order_of(replace(rings, batch_size=None), need) == "full"
    assert order_of(replace(rings, batch_size=10_000)) == "full"


def test_training_batches_hold_both_classes_at_natural_proportions(make_job, train):
    rare = Rings(positives=20, negatives=230, test_rows=50, batch_size=16).prepare()  # 16 of 200 in 13 batches
    notes = SeenTargets()
    job = make_job(rare, loss=notes.loss("both_classes"), epochs=2)
    train(job)
    assert job.batch_order == "stratified"
    assert len(notes.batches) == 2 * 13
    for epoch in (notes.batches[:13], notes.batches[13:]):
        assert np.sum(epoch, axis=0).tolist() == [184, 16]
        assert {positives for _, positives in epoch} == {1, 2}
        assert {sum(batch) for batch in epoch} == {15, 16}


def test_what_batches_cannot_hold_is_refused_by_name():
    scarce = Rings(positives=10, negatives=240, test_rows=50, batch_size=16).prepare()
    with pytest.raises(CannotServe) as caught:
        order_of(scarce, "both_classes")
    assert str(caught.value) == (
        "SeenTargets needs every class in every batch, but class 'positive' has 8 training rows for 13 batches; "
        "data.batch_size=25 would do"
    )
    assert order_of(replace(scarce, batch_size=25), "both_classes") == "stratified"
    assert order_of(replace(scarce, sampler="balanced"), "both_classes") == "stratified"


def test_a_job_that_cannot_be_served_is_refused_before_training(make_job):
    scarce = Rings(positives=10, negatives=240, test_rows=50, batch_size=2).prepare()
    with pytest.raises(CannotServe, match=r"two rows of a class in every batch, but no class has more than 192 .*=3"):
        make_job(scarce, loss=SeenTargets().loss("two_rows_of_a_class"))


def test_pairs_share_their_batches(make_job, train, rings):
    plain, other = SeenTargets(), SeenTargets()
    for notes in (plain, other):
        train(make_job(rings, loss=notes.loss(), epochs=1))
    assert plain.batches == other.batches


def test_the_posterior_undoes_the_sampler(make_job, train):
    found = {}
    for sampler in ("natural", "balanced"):
        data = Rings(positives=300, negatives=3000, spread=2, test_rows=4000, batch_size=64, sampler=sampler).prepare()
        job = make_job(data, loss=cross_entropy(), epochs=8, rule=Rule(None))
        train(job)
        assert job.objective.task.priors == pytest.approx((10 / 11, 1 / 11))
        found[sampler] = evaluate_job(job)
    rates = found["balanced"].posterior_state["sampling_rates"]
    np.testing.assert_allclose(rates, [0.55, 5.5], rtol=1e-12)
    assert "sampling_rates" not in found["natural"].posterior_state
    link, posterior = found["balanced"].probs["test"], found["balanced"].posteriors["test"]
    expected = link / rates
    np.testing.assert_allclose(posterior, expected / expected.sum(axis=1, keepdims=True), rtol=1e-9, atol=1e-15)
    assert link[:, 1].mean() > 0.13
    assert posterior[:, 1].mean() == pytest.approx(1 / 11, abs=0.025)
    metrics = {name: evaluation.metrics for name, evaluation in found.items()}
    assert metrics["balanced"]["test/log_loss"] > 1.5 * metrics["natural"]["test/log_loss"]
    assert metrics["balanced"]["test/posterior/log_loss"] < 1.15 * metrics["natural"]["test/log_loss"]
