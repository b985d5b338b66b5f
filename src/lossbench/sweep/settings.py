"""What a config asks of a sweep as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lossbench.errors import UserError


@dataclass(frozen=True)
class SweepSettings:
    """How a sweep goes on after an interruption.

    Parameters
    ----------
    resume
        ``auto``, ``never``, or the name or id of a sweep.
    retry_failed
        Whether jobs that failed are trained again.
    dry_run
        List the jobs, and train none.
    """

    resume: str
    retry_failed: bool
    dry_run: bool

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> SweepSettings:
        """Return the settings in the ``sweep`` section of a composed config.

        Raises
        ------
        UserError
            For a value of the wrong type.
        """
        sweep = config["sweep"]
        if not isinstance(sweep["resume"], str | int) or isinstance(sweep["resume"], bool):
            raise UserError(f"sweep.resume is auto, never, or a sweep's name or id, got {sweep['resume']!r}")
        for key in ("retry_failed", "dry_run"):
            if not isinstance(sweep[key], bool):
                raise UserError(f"sweep.{key} is true or false, got {sweep[key]!r}")
        return cls(str(sweep["resume"]), sweep["retry_failed"], sweep["dry_run"])
