"""The front door: each name is imported when it is first asked for, so that ``import lossbench`` costs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossbench.config.compose import compose
    from lossbench.runs.execute import Result, run
    from lossbench.sweep.answer import Answer
    from lossbench.sweep.from_python import run_sweep

    __version__: str

__all__ = ["Answer", "Result", "__version__", "compose", "run", "run_sweep"]

_HOMES = {
    "Answer": "lossbench.sweep.answer",
    "Result": "lossbench.runs.execute",
    "compose": "lossbench.config.compose",
    "run": "lossbench.runs.execute",
    "run_sweep": "lossbench.sweep.from_python",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("lossbench")
    if name not in _HOMES:
        raise AttributeError(f"module 'lossbench' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
