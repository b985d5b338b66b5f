"""What ``tuning=optuna`` was told, checked before anything trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lossbench.errors import UserError
from lossbench.evaluation.metrics import DIRECTION


@dataclass(frozen=True)
class Settings:
    """The budget and the protocol of a tuning; ``conf/tuning/optuna.yaml`` says what each means.

    Raises
    ------
    UserError
        For a value out of range, or where no metric is known to tune by.
    """

    trials: int
    max_failed: int
    seeds: int
    first_seed: int
    batch: int
    metric: str
    sampler: Mapping[str, Any]
    space: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> Settings:
        """Return the settings in a run's config; its metric is ``select.metric`` unless tuning has its own."""
        given = dict(config["tuning"])
        metric = given.pop("metric") or config["select"]["metric"]
        if metric is None:
            raise UserError(
                "tuning needs a validation metric, and select.metric is null (the last epoch counts): "
                "say tuning.metric=val/auroc, or another"
            )
        settings = cls(metric=str(metric), **{name: given.pop(name) for name in sorted(_KNOWN - {"metric"})})
        if given:
            raise UserError(f"tuning takes {', '.join(sorted(_KNOWN))}, got {', '.join(given)}")
        settings._check()
        return settings

    def _check(self) -> None:
        for name, least in (("trials", 1), ("max_failed", 0), ("seeds", 1), ("first_seed", 0), ("batch", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UserError(f"tuning.{name} is a whole number >= {least}, got {value!r}")
        name = self.metric.removeprefix("val/")
        # The calibration error is not computed every epoch.
        names = [each for each in DIRECTION if each != "ece"]
        if not self.metric.startswith("val/") or name not in names:
            known = ", ".join(f"val/{each}" for each in names)
            raise UserError(f"tuning.metric is a validation metric, one of {known}; got {self.metric!r}")
        for name in ("space", "sampler"):
            if not isinstance(getattr(self, name), Mapping):
                raise UserError(f"tuning.{name} is a mapping, got {getattr(self, name)!r}")

    @property
    def tuning_seeds(self) -> range:
        """The seeds that trials are scored on."""
        return range(self.first_seed, self.first_seed + self.seeds)

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        return "maximize" if DIRECTION[self.metric.removeprefix("val/")] == "max" else "minimize"


_KNOWN = set(Settings.__dataclass_fields__)
