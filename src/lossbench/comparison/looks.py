"""Looking more than once: how much of alpha each look may spend."""

from __future__ import annotations

from collections.abc import Sequence

from scipy.stats import norm

from lossbench.errors import UserError


def spend(looks: Sequence[int], alpha: float = 0.05) -> list[float]:
    """Return the level at which each planned look is judged; the levels sum to alpha.

    Early looks spend little, as O'Brien and Fleming have it: after n_k of n_K seeds the looks up to k have spent

        2 - 2 Phi(z / sqrt(n_k / n_K)),  z = Phi^-1(1 - alpha / 2)

    (Lan and DeMets 1983, https://doi.org/10.1093/biomet/70.3.659). Each look is judged at what is new since the one
    before. That is a Bonferroni bound: it holds for every test and every dependence between looks, and costs little
    power, since nearly all of alpha is left to the last.

    Parameters
    ----------
    looks
        Rising numbers of seeds.

    Raises
    ------
    UserError
        Where they do not rise from at least 1.

    Examples
    --------
    >>> [round(level, 5) for level in spend([10, 20, 40])]
    [9e-05, 0.00549, 0.04443]
    """
    if not looks or list(looks) != sorted(set(looks)) or looks[0] < 1:
        raise UserError(f"sweep.looks are numbers of seeds that rise, got {list(looks)}")
    z = norm.isf(alpha / 2)
    total = [float(2 * norm.sf(z / (n / looks[-1]) ** 0.5)) for n in looks]
    total[-1] = alpha
    return [now - before for now, before in zip(total, [0.0, *total], strict=False)]


def level_after(earlier: int, alpha: float = 0.05) -> float:
    """Return the level for looking again at a sweep that was extended without a plan.

    Its first answer has spent alpha. A later look at alpha / 2, the next at alpha / 4 ... keeps the chance of any false
    statement in all of them, the first included, at 2 alpha at most, however often it is extended.

    >>> level_after(0), level_after(1), level_after(2)
    (0.05, 0.025, 0.0125)
    """
    return alpha / 2**earlier
