"""The laws of each kind of component, and how one is run."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module

from lossbench.errors import UserError
from lossbench.testing.cases import Case
from lossbench.testing.checks import LawBroken

Law = Callable[[Case], None]
KINDS = ("loss", "weighting", "regularizer", "model", "data", "metrics")
_BESIDE = {"loss": ("posterior_laws",)}  # modules of a kind's laws beside its own


def laws_of(kind: str) -> list[Law]:
    """Return the laws of a kind of component: the public functions of its modules whose one argument is ``case``.

    >>> [law.__name__ for law in laws_of("weighting")][:2]
    ['one_positive_weight_per_class', 'waits_for_its_start']
    """
    if kind not in KINDS:
        raise UserError(f"there are laws for {', '.join(KINDS)}, got {kind!r}")
    modules = [import_module(f"lossbench.testing.{name}") for name in (f"{kind}_laws", *_BESIDE.get(kind, ()))]
    return [
        value
        for module in modules
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and value.__module__ == module.__name__
        and not name.startswith("_")
        and list(inspect.signature(value).parameters) == ["case"]
    ]


def obey(law: Law, case: Case) -> None:
    """Run one law on one case.

    Raises
    ------
    LawBroken
        One line with the component, its setting, the law and the values; also where the component itself raised.
    """
    complaint = f"{case.described} breaks the law `{law.__name__.replace('_', ' ')}`"
    try:
        law(case)
    except LawBroken as broken:
        raise LawBroken(f"{complaint}: {broken}") from broken
    except Exception as error:
        raise LawBroken(f"{complaint}: {type(error).__name__}: {' '.join(str(error).split())}") from error
