"""my_metric: what it is, and where it comes from."""

import numpy as np


def my_metric(y_true: np.ndarray, labels: np.ndarray, cost: float = 5.0) -> float:
    """Return the cost per row, where a missed row of the last class costs ``cost`` and any other mistake 1.

    With the YAML as it stands, both are (N,) class indices of all rows of a split; scikit-learn's metrics fit as well.
    """
    wrong = labels != y_true
    return float(np.where(y_true == y_true.max(), cost, 1.0)[wrong].sum() / len(y_true))
