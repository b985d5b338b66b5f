"""A run that was interrupted and resumed equals one that never was, to the bit."""

from __future__ import annotations

import pickle
from functools import partial
from typing import Any

import lightning as L
import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from lossbench.models.mlp import Mlp
from lossbench.objective.regularizers.weights import L1
from lossbench.objective.weighting import Balanced
from lossbench.task import Task
from lossbench.training.fit import Diverged
from lossbench.training.selection import Rule

DROPOUT = partial(Mlp, widths=(6, 5), dropout=0.3, normalization="batch")
SGD = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
ADAM = partial(torch.optim.Adam, lr=0.05, weight_decay=0.01)
AUROC, LOG_LOSS = Rule("val/auroc"), Rule("val/log_loss", maximize=False)


class Plain(nn.Sequential):
    def __init__(self, task: Task) -> None:
        super().__init__(nn.Linear(task.n_features, 6), nn.Dropout(0.4), nn.Linear(6, task.n_scores))


class PowerCut(L.Callback):
    """Break off in the middle of an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.current_epoch == self.epoch and batch_idx == 1:
            raise OSError("power cut")


CASES = {
    "adam": {"optimizer": ADAM},
    "momentum, cosine": {"optimizer": SGD, "scheduler": partial(lr_scheduler.CosineAnnealingLR, T_max=6)},
    "adam, step": {"optimizer": ADAM, "scheduler": partial(lr_scheduler.StepLR, step_size=2, gamma=0.3)},
    "adam, exponential": {"optimizer": ADAM, "scheduler": partial(lr_scheduler.ExponentialLR, gamma=0.7)},
    "momentum, plateau": {
        "optimizer": SGD,
        "scheduler": partial(lr_scheduler.ReduceLROnPlateau, patience=0, threshold=0.02, threshold_mode="abs"),
        "rule": LOG_LOSS,
    },
    "a rule without a metric": {"rule": Rule(None)},
    "patience": {"optimizer": SGD, "rule": Rule("val/auroc", patience=4, min_delta=0.01)},
    "single precision": {"dtype": torch.float32},
    "a user's module": {"model": Plain},
    "deferred weights and a penalty": {"weighting": lambda: Balanced(start=4), "regularizers": {"l1": 0.01}},
    "groups": {"optimizer": ADAM, "groups": [{"pattern": "head.*", "lr": 0.001}]},
}


def build(make_job, case: dict[str, Any], **others: Any) -> Any:
    """A fresh job; weighting and regularizers are bound once, so they are made anew."""
    given = {"model": DROPOUT, "epochs": 6, "rule": AUROC, **case, **others}
    if "weighting" in given:
        given["weighting"] = given["weighting"]()
    if "regularizers" in given:
        given["regularizers"] = {name: L1(strength) for name, strength in given["regularizers"].items()}
    return make_job(**given)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_resumed_run_equals_an_uninterrupted_one(
    make_job, train, state, assert_same, tmp_path, case: dict[str, Any]
) -> None:
    whole = build(make_job, case)
    expected = train(whole)

    path = tmp_path / "last.ckpt"
    with pytest.raises(OSError, match=r"power cut"):
        train(build(make_job, case), callbacks=[PowerCut(4)], checkpoint=path, resume_every=1)
    resumed = build(make_job, case)
    rows: list[dict[str, float]] = []
    found = train(resumed, resume_from=path, report=lambda row: rows.append(dict(row)))

    assert_same(found.history, expected.history)
    assert_same(rows, expected.history)
    assert found.selected_epoch == expected.selected_epoch
    assert found.epochs == expected.epochs
    assert_same(state(resumed), state(whole))


def test_more_epochs_are_added_to_a_finished_run(make_job, train, state, assert_same, tmp_path) -> None:
    whole = build(make_job, {})
    expected = train(whole)
    short = build(make_job, {}, epochs=4)
    train(short, checkpoint=tmp_path / "last.ckpt", resume_every=3)
    longer = build(make_job, {})
    found = train(longer, resume_from=tmp_path / "last.ckpt")
    assert_same(found.history, expected.history)
    assert_same(state(longer), state(whole))
    assert found.selected_epoch == expected.selected_epoch


def test_a_finished_run_stays_as_it_is(make_job, train, state, assert_same, tmp_path) -> None:
    for rule in (AUROC, Rule(None)):
        job = build(make_job, {"rule": rule})
        expected = train(job, checkpoint=tmp_path / "last.ckpt", resume_every=2)
        again = build(make_job, {"rule": rule})
        found = train(again, resume_from=tmp_path / "last.ckpt")
        assert_same(found.history, expected.history)
        assert_same(state(again), state(job))


def test_a_run_that_patience_stopped_goes_on_with_more_of_it_alone(
    make_job, train, state, assert_same, tmp_path
) -> None:
    def rule(patience: int) -> dict[str, Any]:
        return {"rule": Rule("val/auroc", patience=patience, min_delta=0.5)}

    stopped = build(make_job, rule(2))
    expected = train(stopped, checkpoint=tmp_path / "last.ckpt", resume_every=1)
    assert expected.epochs == 3
    again = build(make_job, rule(2))
    assert train(again, resume_from=tmp_path / "last.ckpt").epochs == 3
    assert_same(state(again), state(stopped))
    more, whole = build(make_job, rule(4)), build(make_job, rule(4))
    found = train(more, resume_from=tmp_path / "last.ckpt")
    assert_same(found.history, train(whole).history)
    assert found.epochs == 5
    assert_same(state(more), state(whole))


@pytest.mark.parametrize(("every", "kept"), [(1, 4), (2, 4), (3, 3)])
def test_it_is_written_at_every_nth_boundary(make_job, train, tmp_path, every: int, kept: int) -> None:
    path = tmp_path / "folder" / "last.ckpt"
    with pytest.raises(OSError, match=r"power cut"):
        train(build(make_job, {}), callbacks=[PowerCut(4)], checkpoint=path, resume_every=every)
    assert len(torch.load(path, weights_only=True)["history"]) == kept
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]


def test_nothing_is_written_unless_asked(make_job, train, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    train(build(make_job, {}, epochs=2), checkpoint=tmp_path / "last.ckpt")
    assert list(tmp_path.iterdir()) == []


def test_a_broken_write_leaves_the_last_one_whole(make_job, train, tmp_path, monkeypatch) -> None:
    path = tmp_path / "last.ckpt"
    original = L.Trainer.save_checkpoint

    def full_disk(self: L.Trainer, filepath: Any, *arguments: Any, **others: Any) -> None:
        if self.current_epoch == 3:
            filepath.write_bytes(b"half")
            raise OSError("no space left on device")
        original(self, filepath, *arguments, **others)

    monkeypatch.setattr(L.Trainer, "save_checkpoint", full_disk)
    with pytest.raises(OSError, match=r"no space left"):
        train(build(make_job, {}), checkpoint=path, resume_every=1)
    assert len(torch.load(path, weights_only=True)["history"]) == 2


class Payload:
    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit('a checkpoint ran code')",)


def test_a_checkpoint_that_would_run_code_is_refused(make_job, train, tmp_path) -> None:
    path = tmp_path / "last.ckpt"
    train(build(make_job, {}, epochs=1), checkpoint=path, resume_every=1)
    content = torch.load(path, weights_only=True)
    torch.save({**content, "payload": Payload()}, path)
    with pytest.raises(pickle.UnpicklingError, match=r"Weights only load failed"):
        train(build(make_job, {}), resume_from=path)


def test_an_undefined_metric_has_no_epoch_to_return_to(make_job, train, tmp_path) -> None:
    """Also across a resume: what was selected before is remembered, nothing is invented."""
    path = tmp_path / "last.ckpt"
    job = build(make_job, {}, epochs=2)
    train(job, checkpoint=path, resume_every=1)
    content = torch.load(path, weights_only=True)
    key = next(key for key in content["callbacks"] if "EndEpoch" in key)
    content["callbacks"][key]["selection"]["epoch"] = [-1]
    torch.save(content, path)
    with pytest.raises(Diverged, match=r"val/auroc was undefined in every epoch"):
        train(build(make_job, {}, epochs=2), resume_from=path)
