"""The values that one hyperparameter may take: read from a search document, drawn by Optuna, shown to a person."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lossbench.errors import UserError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

KEYS = {"low", "high", "log", "step", "integer", "zero", "choices"}
_DECADE = 10.0
_DIGITS = 4


@dataclass(frozen=True)
class Domain:
    """The values that a hyperparameter may take.

    Parameters
    ----------
    key
        Its dotted key in a run's config: ``loss.gamma``.
    low, high
        Both included.
    log
        Drawn evenly by its logarithm.
    step
        From low on in such steps.
    integer
        Whole numbers alone.
    zero
        With ``log``: also 0, which its logarithm has no place for. It stands for the decade below ``low``, so it is
        drawn as often as any decade of the domain.
    choices
        Instead of a range: one of these scalars.

    Raises
    ------
    UserError
        For a document that means no domain, naming the key, the rule and the value.

    Examples
    --------
    >>> decay = Domain("optimizer.weight_decay", 1e-6, 1e-2, log=True, zero=True)
    >>> decay.value(5e-7), decay.value(0.000123456)
    (0.0, 0.0001235)
    """

    key: str
    low: float = math.nan
    high: float = math.nan
    log: bool = False
    step: float | None = None
    integer: bool = False
    zero: bool = False
    choices: tuple[Any, ...] = ()

    @classmethod
    def read(cls, key: str, document: Mapping[str, Any]) -> Domain:
        """Return the domain that a document (``{low: 0, high: 5}`` or ``{choices: [1, 2]}``) means."""
        unknown = sorted(set(document) - KEYS)
        if unknown:
            raise UserError(f"the search space of {key} takes {', '.join(sorted(KEYS))}, got {', '.join(unknown)}")
        if "choices" in document:
            choices = document["choices"]
            scalars = isinstance(choices, list) and all(
                each is None or isinstance(each, bool | int | float | str) for each in choices
            )
            if len(document) > 1 or not scalars or len({repr(each) for each in choices}) < 2:
                raise UserError(f"the search space of {key} takes two or more different scalars as choices and nothing "
                                f"else, got {dict(document)}")  # fmt: skip
            return cls(key, choices=tuple(choices))
        domain = cls(key, **document)
        domain._check(document)
        return domain

    def _check(self, document: Mapping[str, Any]) -> None:
        def refuse(rule: str) -> None:
            raise UserError(f"the search space of {self.key} needs {rule}, got {dict(document)}")

        for name in ("log", "integer", "zero"):
            if not isinstance(getattr(self, name), bool):
                refuse(f"{name} true or false")
        numbers = [self.low, self.high, *([] if self.step is None else [self.step])]
        if any(isinstance(each, bool) or not isinstance(each, int | float) for each in numbers):
            refuse("numbers low and high, or choices")
        if not -math.inf < self.low < self.high < math.inf:
            refuse("low < high, both finite")
        if self.log and (self.low <= 0 or self.step is not None):
            refuse("low > 0 and no step with log")
        if self.step is not None and self.step <= 0:
            refuse("step > 0")
        if self.integer and any(not float(each).is_integer() for each in numbers):
            refuse("whole numbers with integer")
        if self.zero and (not self.log or self.integer):
            refuse("log, and no integer, with zero")

    def distribution(self) -> BaseDistribution:
        """Return what Optuna draws from."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution(self.choices)
        if self.integer:
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(self._lowest, self.high, log=self.log, step=self.step)

    def value(self, drawn: Any) -> Any:
        """Return the hyperparameter that a drawn number stands for, with so many digits as a person would write."""
        if self.choices or self.integer:
            return drawn
        if self.zero and drawn < self.low:
            return 0.0
        rounded = float(f"{drawn:.{_DIGITS}g}") if self.step is None else round(float(drawn), 12)
        return min(max(rounded, float(self.low)), float(self.high))

    def drawn(self, value: Any) -> Any:
        """Return a number that stands for a hyperparameter: the inverse of `value`.

        Raises
        ------
        UserError
            For a hyperparameter outside.
        """
        if self.choices:
            same = [each for each in self.choices if (type(each), each) == (type(value), value)]
            if same:
                return same[0]
        elif isinstance(value, int | float) and not isinstance(value, bool):
            if self.zero and value == 0:
                return math.sqrt(self._lowest * self.low)
            if self.low <= value <= self.high and not (self.integer and not float(value).is_integer()):
                return int(value) if self.integer else float(value)
        raise UserError(
            f"{self.key}={value!r}, where tuning starts, lies outside of its search space, {self}: change one of them "
            f"('+tuning.space.{self.key}={{...}}'), or set {self.key} on the command line, which is then not tuned"
        )

    @property
    def _lowest(self) -> float:
        return self.low / _DECADE if self.zero else self.low

    def __str__(self) -> str:
        """Return the domain as a person would say it.

        >>> print(Domain("optimizer.lr", 0.001, 0.1, log=True), Domain("p", choices=(1, 2)), sep="; ")
        0.001 to 0.1 by its logarithm; one of 1, 2
        """
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        kind = " by its logarithm" if self.log else ""
        steps = f" in steps of {self.step:g}" if self.step is not None else ""
        whole = ", whole numbers" if self.integer else ""
        return f"{'0 or ' if self.zero else ''}{self.low:g} to {self.high:g}{kind}{steps}{whole}"
