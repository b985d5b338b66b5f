from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator

import pytest

from lossbench.cli import main
from lossbench.processes import lifetime


@pytest.fixture(autouse=True)
def _own_handler() -> Iterator[None]:
    before, hook = signal.signal(signal.SIGINT, signal.default_int_handler), sys.unraisablehook
    yield
    signal.signal(signal.SIGINT, before)
    sys.unraisablehook = hook


class Thing:
    pass


def test_an_interrupt_that_python_drops_is_raised_a_moment_later(capsys: pytest.CaptureFixture[str]) -> None:
    lifetime.raise_on_ctrl_c()
    lifetime.raise_on_ctrl_c()
    thing = Thing()
    reference = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGINT))
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        del thing
        assert reference() is None
        time.sleep(10)
    assert time.monotonic() - start < 5  # it wakes who sleeps
    assert capsys.readouterr().err == ""


def test_another_exception_that_python_drops_is_printed_as_ever() -> None:
    script = (
        "import weakref\nfrom lossbench.processes import lifetime\n"
        "lifetime.raise_on_ctrl_c()\nclass Thing: pass\nthing = Thing()\n"
        "reference = weakref.ref(thing, lambda _: 1 / 0)\ndel thing\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "Exception ignored in" in done.stderr
    assert "ZeroDivisionError" in done.stderr


def test_an_ignored_signal_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lifetime.raise_on_ctrl_c()
    os.kill(os.getpid(), signal.SIGINT)


def test_an_error_that_an_interrupt_led_to_is_an_interrupt(capsys: pytest.CaptureFixture[str]) -> None:
    def clears_up_badly() -> int:
        try:
            raise KeyboardInterrupt
        finally:
            raise AttributeError("half of it is gone")

    assert main._guarded(clears_up_badly, False) == main.INTERRUPTED
    assert capsys.readouterr().err == "lossbench: interrupted\n"
