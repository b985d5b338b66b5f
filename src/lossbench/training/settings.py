"""What is asked of a training: the components of a job, the Trainer's arguments, callbacks, loggers, checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from lossbench.errors import UserError

PRECISIONS = ("32-true", "64-true")
# Lightning's names of the strategies by which several processes share a run.
STRATEGIES = ("ddp", "ddp_find_unused_parameters_false", "ddp_find_unused_parameters_true")


@dataclass(frozen=True)
class TrainerSettings:
    """Arguments of Lightning's Trainer, less ``max_epochs``, which is the job's.

    Parameters
    ----------
    accelerator, devices, precision, strategy, gradient_clip_val, gradient_clip_algorithm
        As Lightning takes them; the strategy None leaves it to Lightning.
    others
        Further arguments of ``lightning.Trainer``.

    Raises
    ------
    UserError
        For a precision other than full 32 or 64 bits; with one of `STRATEGIES` for a number of devices that is none, or
        more than one machine.
    """

    accelerator: str = "cpu"
    devices: Any = 1
    precision: str = "32-true"
    strategy: str | None = None
    gradient_clip_val: float | None = None
    gradient_clip_algorithm: str | None = None
    others: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise UserError(f"trainer.precision is one of {', '.join(PRECISIONS)}, got {self.precision!r}")
        if self.strategy not in STRATEGIES:
            return
        devices, nodes = self.devices, self.others.get("num_nodes", 1)
        if isinstance(devices, bool) or not isinstance(devices, int) or devices < 1:
            raise UserError(
                f"trainer.devices is a number of processes >= 1 with strategy={self.strategy}, got {devices!r}"
            )
        if nodes != 1:
            raise UserError(f"trainer.num_nodes is 1: a run's processes share one machine, got {nodes!r}")

    @classmethod
    def read(cls, arguments: Mapping[str, Any]) -> TrainerSettings:
        """Return the settings in the ``trainer`` section of a config."""
        named = {each.name for each in fields(cls)} - {"others"}
        own = {key: value for key, value in arguments.items() if key in named}
        others = {key: value for key, value in arguments.items() if key not in named and key != "max_epochs"}
        return cls(**{**own, "precision": str(own.get("precision", cls.precision))}, others=others)

    @property
    def world(self) -> int:
        """The number of processes that share a run; 1 without one of `STRATEGIES`."""
        return int(self.devices) if self.strategy in STRATEGIES else 1

    @property
    def arguments(self) -> dict[str, Any]:
        """All settings by their names in Lightning."""
        own = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "others"}
        if self.strategy is None:
            del own["strategy"]
        return own | dict(self.others)


@dataclass(frozen=True)
class Components:
    """The configs of what a job was built from, by which jobs that can be trained as one are told from others."""

    model: Mapping[str, Any] = field(default_factory=dict)
    loss: Mapping[str, Any] = field(default_factory=dict)
    weighting: Mapping[str, Any] = field(default_factory=dict)
    regularizers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    optimizer: Mapping[str, Any] = field(default_factory=dict)
    scheduler: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class FitSettings:
    """How a job is trained.

    Parameters
    ----------
    trainer
        Arguments of Lightning's Trainer.
    callbacks, loggers
        The configs of a person's own, by their names.
    threads
        Torch's threads; None leaves them as they are.
    resume_every
        Write a checkpoint every so many epochs; None writes none.
    resume_from
        A checkpoint file, or the id of a run that wrote one; None starts at the first epoch.
    """

    trainer: TrainerSettings = field(default_factory=TrainerSettings)
    callbacks: Mapping[str, Any] = field(default_factory=dict)
    loggers: Mapping[str, Any] = field(default_factory=dict)
    threads: int | None = None
    resume_every: int | None = None
    resume_from: str | None = None
