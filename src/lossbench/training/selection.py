"""Which epoch counts, and when to stop: one state machine on float64 values, for one run or many at once.

Lightning's EarlyStopping and ModelCheckpoint disagree with each other on ties and NaN and see float32 values, so
neither decides here. The ordinary run calls this machine with one replicate, the batched engine with many.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

TIE = 1e-12


@dataclass(frozen=True)
class Rule:
    """What selects an epoch and what stops training.

    Parameters
    ----------
    metric
        Key of the validation metric that selects, such as ``val/auroc``; None takes the last epoch.
    maximize
        True where a higher value of the metric is better.
    patience
        Stop after this many epochs in a row without an improvement of more than ``min_delta``; None never stops.
        Patience stops, it never selects.
    min_delta
        The improvement that counts for ``patience``, in the metric's own unit.
    """

    metric: str | None = "val/auroc"
    maximize: bool = True
    patience: int | None = None
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        if self.metric is not None and not str(self.metric).startswith("val/"):
            raise ValueError(
                f"select.metric is a validation metric (val/...) or null, got {self.metric!r}: "
                "an epoch chosen on the training or test split would flatter the run"
            )
        if self.patience is not None:
            if isinstance(self.patience, bool) or not isinstance(self.patience, int) or self.patience < 1:
                raise ValueError(f"select.patience is a whole number >= 1 or null, got {self.patience!r}")
            if self.metric is None:
                raise ValueError(f"select.patience={self.patience} needs a select.metric to watch, got null")
        number = isinstance(self.min_delta, int | float) and not isinstance(self.min_delta, bool)
        if not number or not 0 <= self.min_delta < np.inf:
            raise ValueError(f"select.min_delta is a number >= 0, got {self.min_delta!r}")


class Selection:
    """The state of a :class:`Rule` over the epochs of one or more replicates.

    Better wins; values within 1e-12 of each other are a tie, which the lower ``val/log_loss`` wins and then the
    earlier epoch; NaN is never selected. Replicates that have stopped change no more.

    Examples
    --------
    >>> selection = Selection(Rule("val/auroc"))
    >>> for epoch, (auroc, log_loss) in enumerate([(0.9, 0.7), (1.0, 0.5), (1.0, 0.3), (0.8, 0.1)]):
    ...     chosen = selection.update(epoch, [auroc], [log_loss])
    >>> selection.epoch.tolist()
    [2]
    """

    def __init__(self, rule: Rule, replicates: int = 1) -> None:
        self.rule = rule
        self.epoch: NDArray[np.int64] = np.full(replicates, -1, dtype=np.int64)
        self.stopped: NDArray[np.bool_] = np.zeros(replicates, dtype=bool)
        self._best = np.full(replicates, -np.inf)
        self._log_loss = np.full(replicates, np.inf)
        self._best_for_patience = np.full(replicates, -np.inf)
        self._waited = np.zeros(replicates, dtype=np.int64)

    def update(self, epoch: int, values: Any, log_losses: Any) -> NDArray[np.bool_]:
        """Take one epoch's values, shape (replicates,); return which replicates now select this epoch."""
        running = ~self.stopped
        if self.rule.metric is None:
            self.epoch[running] = epoch
            return running

        value = np.asarray(values, dtype=np.float64) * (1.0 if self.rule.maximize else -1.0)
        log_loss = np.asarray(log_losses, dtype=np.float64)
        # NaN compares false with everything, so it is neither better nor a tie.
        first = (self.epoch < 0) & ~np.isnan(value)
        with np.errstate(invalid="ignore"):
            better = value > self._best + TIE
            tie = (np.abs(value - self._best) <= TIE) & (log_loss < self._log_loss - TIE)
            improved = value > self._best_for_patience + self.rule.min_delta
        chosen = running & (first | better | tie)
        self.epoch[chosen] = epoch
        # A tie may be won by a value 1e-12 lower: keep the higher one, or ties could walk downhill.
        self._best[chosen] = np.fmax(self._best, value)[chosen]
        # A NaN log-loss must not win ties for ever, nor lose them to nothing: any number beats it.
        self._log_loss[chosen] = np.where(np.isnan(log_loss), np.inf, log_loss)[chosen]

        improved &= running
        self._best_for_patience[improved] = value[improved]
        self._waited[running] += 1
        self._waited[improved] = 0
        self.stopped = self._out_of_patience()
        return chosen

    def state_dict(self) -> dict[str, list[Any]]:
        """Return the state as plain lists, for a checkpoint."""
        return {name: getattr(self, attribute).tolist() for name, attribute in _STATE.items()}

    def load_state_dict(self, state: Mapping[str, list[Any]]) -> None:
        """Continue from a state that :meth:`state_dict` returned."""
        for name, attribute in _STATE.items():
            current = getattr(self, attribute)
            setattr(self, attribute, np.asarray(state[name], dtype=current.dtype).reshape(current.shape))
        # Not part of the state, so that a run that patience has stopped goes on with a larger one.
        self.stopped = self._out_of_patience()

    def _out_of_patience(self) -> NDArray[np.bool_]:
        if self.rule.patience is None:
            return np.zeros(self._waited.shape, dtype=bool)
        return self._waited >= self.rule.patience


_STATE = {
    "epoch": "epoch",
    "best": "_best",
    "log_loss": "_log_loss",
    "reference": "_best_for_patience",
    "waited": "_waited",
}
