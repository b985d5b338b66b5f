"""What ends a training: numbers that are no longer finite, and a person who has seen enough."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch

from lossbench.data.dataset import Rows
from lossbench.objective.losses.external import External
from lossbench.training.fit import Diverged
from lossbench.training.selection import Rule


def breaking(value: float, after: int) -> External:
    """A loss that is cross-entropy for so many batches and then `value`; its gradient stays zero and finite."""
    calls = [0]

    def function(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        calls[0] += torch.is_grad_enabled()
        loss = torch.nn.functional.cross_entropy(logits, target, reduction="none")
        return loss if calls[0] <= after else loss * 0 + value

    return External(function, reads="logits", target="index")


@pytest.mark.parametrize(
    ("value", "after", "message"),
    [
        (float("nan"), 0, "train/loss became nan in epoch 0"),
        # One batch among four spoils the epoch.
        (float("nan"), 7, "train/loss became nan in epoch 1"),
        (float("inf"), 4, "train/loss became inf in epoch 1"),
        (float("-inf"), 4, "train/loss became -inf in epoch 1"),
    ],
)
def test_a_loss_that_is_not_finite_ends_the_run(make_job, train, value: float, after: int, message: str) -> None:
    rows: list[Any] = []
    with pytest.raises(Diverged, match=f"^{message}$"):
        train(make_job(loss=breaking(value, after)), report=rows.append)
    assert len(rows) == int(message[-1]), "the epochs before are reported"


@pytest.mark.parametrize(("rate", "found"), [(float("inf"), "(inf|nan)"), (float("nan"), "nan")])
def test_a_parameter_that_is_not_finite_ends_the_run(make_job, train, iris, rate: float, found: str) -> None:
    """In the last step of an epoch: the loss before it was finite."""
    job = make_job(iris, optimizer=partial(torch.optim.SGD, lr=0.1), epochs=1)

    class Spoil(L.Callback):
        def on_train_batch_end(self, trainer: Any, module: Any, *others: Any) -> None:
            module.job.network.head.bias.data[0] = rate

    with pytest.raises(Diverged, match=f"^a parameter became {found} in epoch 0$"):
        train(job, callbacks=[Spoil()])


def one_class(dataset: Any) -> Any:
    val = dataset.val
    kept = val.y == 0
    return dataclasses.replace(dataset, val=Rows(val.x[kept], val.y[kept], val.index[kept]))


def test_a_metric_that_is_undefined_in_every_epoch_selects_none(make_job, train, rings) -> None:
    rows: list[Any] = []
    with pytest.raises(Diverged, match=r"^val/auroc was undefined in every epoch, so no epoch can be selected$"):
        train(make_job(one_class(rings)), report=rows.append)
    assert len(rows) == 3
    assert all(np.isnan(row["val/auroc"]) for row in rows)
    # Another metric serves the same split, and so does none.
    assert train(make_job(one_class(rings), rule=Rule("val/log_loss", maximize=False))).selected_epoch == 2
    assert train(make_job(one_class(rings), rule=Rule(None))).selected_epoch == 2


class Raise(L.Callback):
    """Send this process a signal, as a terminal does, in one of Lightning's hooks."""

    def __init__(self, hook: str, number: int) -> None:
        self.number = number
        setattr(self, hook, self.send)

    def send(self, *arguments: Any, **others: Any) -> None:
        os.kill(os.getpid(), self.number)
        signal.sigtimedwait([], 0.01)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """What a terminal's process has; one that was started in the background ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("hook", ["setup", "on_train_start", "on_train_batch_end", "on_train_epoch_end"])
def test_ctrl_c_is_a_keyboard_interrupt_and_works_again_afterwards(make_job, train, hook: str) -> None:
    before = signal.getsignal(signal.SIGINT)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train(make_job(), callbacks=[Raise(hook, signal.SIGINT)])
        assert signal.getsignal(signal.SIGINT) is before


def test_an_ignored_ctrl_c_stays_ignored(make_job, train) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert train(make_job(), callbacks=[Raise("on_train_batch_end", signal.SIGINT)]).epochs == 3
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_exit_is_no_ctrl_c(make_job, train) -> None:
    """SIGTERM, which the console command turns into SystemExit(143)."""

    def leave(*_: Any) -> None:
        raise SystemExit(143)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        with pytest.raises(SystemExit) as raised:
            train(make_job(), callbacks=[Raise("on_train_batch_end", signal.SIGTERM)])
        assert raised.value.code == 143
        assert signal.getsignal(signal.SIGTERM) is leave
    finally:
        signal.signal(signal.SIGTERM, before)


def test_training_works_outside_the_main_thread(make_job, train) -> None:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(train(make_job())))
    thread.start()
    thread.join()
    assert found[0].history == train(make_job()).history
