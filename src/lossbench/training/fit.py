"""What training returns, whichever engine trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lossbench.errors import Failed


class Diverged(Failed):
    """A loss or a parameter that is no longer finite; the run is FAILED.

    ``history`` has the epochs before, as `Fit` has them, where they have not been reported one by one.
    """

    def __init__(self, message: str, history: Sequence[Mapping[str, float]] = ()) -> None:
        super().__init__(message)
        self.history = history


@dataclass(frozen=True)
class Fit:
    """The result of a training: the job's network and objective hold the selected epoch's parameters.

    ``history`` has one mapping per epoch (``epoch``, ``train/...``, ``val/...``); ``seconds`` is training with its
    validation, for jobs that were trained together each one's share.
    """

    selected_epoch: int
    epochs: int
    history: list[dict[str, float]]
    seconds: float

    @property
    def chosen(self) -> dict[str, float]:
        """The selected epoch's row of the history."""
        return next(row for row in self.history if row["epoch"] == self.selected_epoch)
