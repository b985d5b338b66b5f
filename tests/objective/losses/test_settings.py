"""Settings of losses that are refused by name."""

from __future__ import annotations

import pytest

from lossbench.objective.losses.asymmetric import Asymmetric, AsymmetricSingleLabel
from lossbench.objective.losses.distance import huber, smooth_l1
from lossbench.objective.losses.divergence import BiTempered
from lossbench.objective.losses.focus import DualFocal
from lossbench.objective.losses.imbalance import Ldam, LogitAdjusted, VectorScaling
from lossbench.objective.losses.likelihood import Poly1
from lossbench.objective.losses.margin import Hinge, SquaredHinge, multi_margin
from lossbench.objective.losses.robust import GeneralizedCrossEntropy, SymmetricCrossEntropy


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: LogitAdjusted(tau=-1), "LogitAdjusted needs tau >= 0, got tau=-1"),
        (lambda: Ldam(max_m=-1), "Ldam needs max_m >= 0, got max_m=-1"),
        (lambda: Ldam(scale=0), "Ldam needs scale > 0, got scale=0"),
        (lambda: VectorScaling(gamma=-1), "VectorScaling needs gamma >= 0, got gamma=-1"),
        (lambda: VectorScaling(tau="1"), "VectorScaling needs tau to be a finite number, got tau='1'"),
        (lambda: DualFocal(gamma=-1), "DualFocal needs gamma >= 0, got gamma=-1"),
        (lambda: Asymmetric(gamma_neg=-1), "Asymmetric needs gamma_neg >= 0"),
        (lambda: Asymmetric(gamma_pos=-1), "Asymmetric needs gamma_pos >= 0"),
        (lambda: Asymmetric(clip=1), "Asymmetric needs 0 <= clip < 1, got clip=1"),
        (lambda: AsymmetricSingleLabel(eps=1), "AsymmetricSingleLabel needs 0 <= eps < 1, got eps=1"),
        (lambda: Poly1(epsilon=-1.5), "Poly1 needs epsilon >= -1, got epsilon=-1.5"),
        (lambda: BiTempered(t1=1.2), "BiTempered needs 0 <= t1 <= 1, got t1=1.2"),
        (lambda: BiTempered(t2=0.5), "BiTempered needs t2 >= 1, got t2=0.5"),
        (lambda: GeneralizedCrossEntropy(q=0), "GeneralizedCrossEntropy needs 0 < q <= 1, got q=0"),
        (lambda: SymmetricCrossEntropy(alpha=0), "SymmetricCrossEntropy needs alpha > 0, got alpha=0"),
        (lambda: SymmetricCrossEntropy(beta=-1), "SymmetricCrossEntropy needs beta >= 0, got beta=-1"),
        (lambda: Hinge(margin=0), "Hinge needs margin > 0, got margin=0"),
        (lambda: SquaredHinge(margin=True), "SquaredHinge needs margin to be a finite number, got margin=True"),
        (lambda: multi_margin(p=3), "multi_margin needs p to be 1 or 2, got p=3"),
        (lambda: multi_margin(margin=0), "multi_margin needs margin > 0, got margin=0"),
        (lambda: smooth_l1(beta=0), "smooth_l1 needs beta > 0, got beta=0"),
        (lambda: huber(delta=-1), "huber needs delta > 0, got delta=-1"),
    ],
)
def test_wrong_hyperparameters_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
