"""The settings of ``tuning=optuna``, checked before anything trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lossbench.errors import UserError
from lossbench.evaluation.catalogue import direction_of, names_for


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
    confirm: int
    confirm_seeds: int
    batch: int
    metric: str
    sampler: Mapping[str, Any]
    space: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> Settings:
        """Return the settings in a run's config; its metric is ``select.metric`` unless tuning has its own."""
        values = dict(config["tuning"])
        if set(values) != _NAMES:
            missing, unknown = sorted(_NAMES - set(values)), sorted(set(values) - _NAMES)
            problem = f"has no {', '.join(missing)}" if missing else f"got {', '.join(unknown)}"
            raise UserError(f"tuning takes {', '.join(sorted(_NAMES))}; it {problem}")
        metric = values.pop("metric") or config["select"]["metric"]
        if metric is None:
            raise UserError(
                "tuning needs a validation metric, and select.metric is null (the last epoch counts): "
                "say tuning.metric=val/auroc, or another"
            )
        settings = cls(metric=str(metric), **values)
        settings._check()
        return settings

    def _check(self) -> None:
        least = {
            "trials": 1,
            "max_failed": 0,
            "seeds": 1,
            "first_seed": 0,
            "batch": 1,
            "confirm": 0,
            "confirm_seeds": 1,
        }
        for name, low in least.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                raise UserError(f"tuning.{name} is a whole number >= {low}, got {value!r}")
        name = self.metric.removeprefix("val/")
        names = names_for(per_epoch=True)
        if not self.metric.startswith("val/") or name not in names:
            choices = ", ".join(f"val/{each}" for each in names)
            raise UserError(f"tuning.metric is a validation metric, one of {choices}; got {self.metric!r}")
        for name in ("space", "sampler"):
            if not isinstance(getattr(self, name), Mapping):
                raise UserError(f"tuning.{name} is a mapping, got {getattr(self, name)!r}")

    @property
    def tuning_seeds(self) -> range:
        """The seeds that trials are scored on."""
        return range(self.first_seed, self.first_seed + self.seeds)

    @property
    def further_seeds(self) -> range:
        """The seeds on which the best trials are scored again; none where they are not."""
        first = self.tuning_seeds.stop
        return range(first, first + self.confirm_seeds if self.confirm else first)

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        return "maximize" if direction_of(self.metric) == "max" else "minimize"


_NAMES = set(Settings.__dataclass_fields__)
