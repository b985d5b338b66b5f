"""The corrected resampled t-test, for repeated splits of one table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.stats import t as student


@dataclass(frozen=True)
class CorrectedT:
    """Nadeau and Bengio's corrected resampled t-test.

        t = mean / (sd sqrt(1/n + n_test/n_learn)),  n - 1 degrees of freedom

    Splits of one table share rows, so their differences are correlated, and averaging more of them does not make the
    mean as certain as 1/n says: the second term stays. It is approximate (no unbiased estimate of that variance
    exists). With ratio 0 it is the paired t-test.

    Parameters
    ----------
    ratio
        Judged rows / all other rows of the table, learnt or selected on; >= 0. With k folds 1/(k-1), also repeated.

    References
    ----------
    Nadeau and Bengio 2003, https://doi.org/10.1023/A:1024068626366; repeated folds: Bouckaert and Frank 2004,
    https://doi.org/10.1007/978-3-540-24775-3_3

    Examples
    --------
    Mean 2, sd 1, n 3, ratio 1/3: t = 2 / sqrt(2/3) with 2 degrees of freedom, where P(|T| > t) = 1 - t / sqrt(t^2 + 2):

    >>> import numpy as np
    >>> round(CorrectedT(1 / 3).two_sided(np.array([1.0, 2.0, 3.0])), 6) == round(1 - (6 / 8) ** 0.5, 6)
    True
    """

    ratio: float

    name: ClassVar[str] = "corrected resampled t-test"
    approximate: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.ratio < math.inf:
            raise ValueError(f"CorrectedT needs ratio >= 0, got ratio={self.ratio}")

    def greater(self, differences: np.ndarray) -> float:
        """Return the one-sided p for a mean above 0, (n,) finite differences; 1 for fewer than two."""
        n = len(differences)
        if n < 2:
            return 1.0
        mean, error = float(np.mean(differences)), self._error(differences)
        if error == 0:
            return 0.5 if mean == 0 else float(mean < 0)
        return float(student.sf(mean / error, n - 1))

    def two_sided(self, differences: np.ndarray) -> float:
        """Return the p for a mean other than 0."""
        return min(1.0, 2 * min(self.greater(differences), self.greater(-differences)))

    def interval(self, differences: np.ndarray, level: float = 0.95) -> tuple[float, float]:
        """Return mean +- t error."""
        n = len(differences)
        if n < 2:
            return -math.inf, math.inf
        half = float(student.ppf((1 + level) / 2, n - 1)) * self._error(differences)
        mean = float(np.mean(differences))
        return mean - half, mean + half

    def lower(self, differences: np.ndarray, tail: float) -> float:
        """Return a lower bound of the mean that is right with probability 1 - tail."""
        n = len(differences)
        if n < 2:
            return -math.inf
        return float(np.mean(differences)) - float(student.isf(tail, n - 1)) * self._error(differences)

    def _error(self, differences: np.ndarray) -> float:
        return float(np.std(differences, ddof=1)) * math.sqrt(1 / len(differences) + self.ratio)
