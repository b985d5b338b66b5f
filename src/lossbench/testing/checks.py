"""Checks that raise `LawBroken` with the values: plain functions, so that laws run without pytest too."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError, gradcheck


class LawBroken(AssertionError):
    """A component does not obey a law; one line with the component, its setting, the law and the values."""


def check(holds: Any, values: str) -> None:
    """Raise :class:`LawBroken` with these values unless it holds.

    >>> check(1 > 2, "1 is not above 2")
    Traceback (most recent call last):
    lossbench.testing.checks.LawBroken: 1 is not above 2
    """
    if not holds:
        raise LawBroken(values)


def check_close(actual: Tensor, expected: Tensor, values: str, *, rtol: float = 0.0, atol: float = 0.0) -> None:
    """Raise :class:`LawBroken` unless two tensors agree in shape, dtype and value.

    >>> check_close(torch.ones(2), torch.tensor([1.0, 2.0]), "value of each row")
    Traceback (most recent call last):
    lossbench.testing.checks.LawBroken: value of each row: 1 at [1], expected 2
    """
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        raise LawBroken(
            f"{values}: shape {tuple(actual.shape)} and {actual.dtype}, "
            f"expected {tuple(expected.shape)} and {expected.dtype}"
        )
    wrong = ~torch.isclose(actual, expected, rtol=rtol, atol=atol)
    if wrong.any():
        index = tuple(wrong.nonzero()[0].tolist())
        raise LawBroken(f"{values}: {actual[index]:.9g} at {list(index)}, expected {expected[index]:.9g}")


def check_finite(actual: Tensor, values: str) -> None:
    """Raise :class:`LawBroken` where a tensor holds a NaN or an infinity."""
    wrong = ~actual.isfinite()
    if wrong.any():
        index = tuple(wrong.nonzero()[0].tolist())
        raise LawBroken(f"{values}: {actual[index]} at {list(index)}")


def check_gradient(function: Callable[..., Tensor], inputs: Sequence[Tensor], values: str) -> None:
    """Raise :class:`LawBroken` unless the gradient of a function of float64 tensors is its slope there."""
    check(function(*inputs).requires_grad, f"{values}: the value has no gradient")
    try:
        gradcheck(function, inputs)
    except GradcheckError as error:
        raise LawBroken(f"{values}: the gradient is not the slope ({' '.join(str(error).split())})") from error


def check_refuses(action: Callable[[], Any], error: type[Exception], match: str, values: str) -> None:
    """Raise :class:`LawBroken` unless an action raises this error with a message that matches."""
    try:
        action()
    except error as refusal:
        check(re.search(match, str(refusal)), f"{values}: the refusal reads {str(refusal)!r}, expected {match!r}")
        return
    raise LawBroken(f"{values}: not refused by a {error.__name__}")
