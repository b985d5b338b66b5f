"""Every YAML under conf that is a component obeys the laws; a new one is found by itself.

The laws themselves are in lossbench.testing. The variants add settings at which an instance states other facts than at
its YAML's defaults.
"""

from __future__ import annotations

from typing import Any

import pytest

LOSSES: dict[str, list[dict[str, Any]]] = {
    "cross_entropy": [{"label_smoothing": 0.1}, {"ignore_index": 1}],
    "bce_with_logits": [{"pos_weight": 30.0}],
    "focal": [{"gamma": 0}, {"gamma": 0.5}, {"alpha": 0.75}, {"alpha": [0.4, 0.3, 0.2, 0.1]}],
    "logit_adjusted": [{"tau": 0}],
    "ldam": [{"scale": 30.0}, {"max_m": 0}],
    "vector_scaling": [{"gamma": 0}, {"gamma": 0, "tau": 0}],
    "dual_focal": [{"gamma": 0}],
    "asymmetric": [{"gamma_neg": 0, "gamma_pos": 0, "clip": 0}, {"gamma_neg": 0}],
    "asymmetric_single_label": [{"gamma_neg": 0, "eps": 0}, {"gamma_pos": 1.0}],
    "poly1": [{"epsilon": -1}],
    "bi_tempered": [{"t1": 1, "t2": 1}, {"t1": 0.2, "t2": 1.8}],
    "generalized_cross_entropy": [{"q": 1}, {"q": 0.5}],
    "symmetric_cross_entropy": [{"beta": 0}, {"alpha": 0.5}],
    "smooth_l1": [{"beta": 0.3}],
    "huber": [{"delta": 0.3}],
    "multi_margin": [{"p": 2}],
    "dice": [{"smoothing": 1.0, "squared": True}],
    "pairwise_auc": [{"average": "macro"}, {"surrogate": "squared"}, {"surrogate": "hinge"}, {"surrogate": "logistic"}],
    "average_precision": [{"average": "macro"}],
    "cosface": [{"margin": 0}],
    "arcface": [{"margin": 0}],
}
WEIGHTINGS: dict[str, list[dict[str, Any]]] = {
    "balanced": [{"by": "count"}, {"start": 3}],
    "explicit": [{"vector": [1.0, 2.0, 3.0, 4.0]}],
    "inverse_sqrt": [{"start": 2}],
    "effective_number": [{"beta": 0.9, "by": "count"}],
}
REGULARIZERS: dict[str, list[dict[str, Any]]] = {
    "l1": [{"proximal": True}],
    "l2": [{"schedule": "cosine"}],
    "group_lasso": [{"groups": "rows"}, {"proximal": True, "schedule": "warm_up"}],
    "spectral": [{"method": "power"}],
    "confidence_penalty": [{"schedule": "warm_up", "until": 2}],
}
MODELS: dict[str, list[dict[str, Any]]] = {
    "mlp": [{"dropout": 0.4}, {"normalization": "batch"}, {"normalization": "layer", "activation": "tanh"}],
}
DATA: dict[str, list[dict[str, Any]]] = {
    "rings": [{"test_rows": 0}, {"sampler": "balanced"}],
    "iris": [{"fold": 2}, {"test": 0.0}],
}


@pytest.mark.lossbench("conf/loss/*.yaml", variants=LOSSES)
def test_loss(law):
    law()


@pytest.mark.lossbench("conf/weighting/*.yaml", variants=WEIGHTINGS)
def test_weighting(law):
    law()


@pytest.mark.lossbench("conf/regularizer/*.yaml", variants=REGULARIZERS)
def test_regularizer(law):
    law()


@pytest.mark.lossbench("conf/model/*.yaml", variants=MODELS)
def test_model(law):
    law()


# a table waits for a path; the sources that need none are found by themselves
@pytest.mark.lossbench("conf/data/[!t]*.yaml", variants=DATA)
def test_data(law):
    law()


@pytest.mark.lossbench("conf/metrics/*.yaml")
def test_metrics(law):
    law()
