"""Two processes that share a run are one: every row once an epoch, and the parameters of one process to 1e-10."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lossbench.config.compose import compose
from lossbench.errors import CannotServe, UserError
from lossbench.processes.workers import context
from lossbench.runs import ranks
from lossbench.runs.prepare import prepare_job
from lossbench.training.fit import Fit
from lossbench.training.job import Job
from lossbench.training.lightning.learner import Learner
from lossbench.training.lightning.shared_batch import Ranks
from lossbench.training.lightning.trainer import build_trainer, fit, hide_tips
from lossbench.training.settings import TrainerSettings

CONF = Path(__file__).parents[3] / "conf"
TASKS = {
    # 96 and 90 training rows: the last batch holds 22 of them, and 21
    "two": ("data=rings", "data.positives=30", "data.negatives=90", "data.test_rows=20", "data.batch_size=37"),
    "three": ("data=iris", "data.batch_size=23"),
}
# Some gradients of these are rounding alone, which Adam would scale up to whole steps (tests/training/stacked).
BY_SGD = ("average_precision", "pairwise_auc", "arcface", "cosface", "normalized_softmax")

# What the other process does: text, since the server that it is forked from cannot import a test's own functions.
ALONG = """
import torch
from lossbench.experiment import prepare
from lossbench.runs.ranks import group
from lossbench.training.lightning.learner import Learner
from lossbench.training.lightning.shared_batch import Ranks
from lossbench.training.lightning.trainer import fit
from lossbench.training.settings import TrainerSettings

torch.set_num_threads(1)
real = Learner._propagate_with_dropout

def noted(self, x, rows):
    seen.append((self.current_epoch, x.detach().clone(), self._noise.initial_seed()))
    return real(self, x, rows)

Learner._propagate_with_dropout = noted
while (told := connection.recv()) is not None:
    config, meeting = told
    seen = []
    try:
        job = prepare(config)
        with group(Ranks(1, 2), meeting, "cpu"):
            fit(job, TrainerSettings.read(config["trainer"]), ranks=Ranks(1, 2))
        states = {**job.network.state_dict(), **{f"objective.{k}": v for k, v in job.objective.state_dict().items()}}
        connection.send((seen, states))
    except Exception as error:
        connection.send(error)
"""

Seen = list[tuple[int, torch.Tensor, int]]


def state(job: Job) -> dict[str, torch.Tensor]:
    return {**job.network.state_dict(), **{f"objective.{k}": v for k, v in job.objective.state_dict().items()}}


@pytest.fixture(scope="module")
def other() -> Iterator[Connection]:
    """A process that trains along as rank one."""
    start = context()
    here, there = start.Pipe()
    process = start.Process(target=exec, args=(ALONG, {"connection": there}))
    process.start()
    yield here
    here.send(None)
    process.join(20)
    assert process.exitcode == 0


@pytest.fixture
def share(other: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Job, Fit, Seen]]:
    """Train a config by two processes; return rank zero's job and fit, and the rows that both saw."""

    def run(config: dict[str, Any]) -> tuple[Job, Fit, Seen]:
        two = {**config, "trainer": {**config["trainer"], "devices": 2, "strategy": "ddp"}}
        job, seen, meeting = prepare_job(two), [], tmp_path / "meeting"
        real = Learner._propagate_with_dropout

        def noted(self: Learner, x: torch.Tensor, rows: int) -> Any:
            seen.append((self.current_epoch, x.detach().clone(), self._noise.initial_seed()))
            return real(self, x, rows)

        other.send((two, meeting))
        with monkeypatch.context() as patched:
            patched.setattr(Learner, "_propagate_with_dropout", noted)
            with ranks.group(Ranks(0, 2), meeting, "cpu"):
                fitted = fit(job, TrainerSettings.read(two["trainer"]), ranks=Ranks(0, 2))
        meeting.unlink(missing_ok=True)
        answer = other.recv()
        if isinstance(answer, Exception):
            raise answer
        rows, states = answer
        for name, tensor in state(job).items():
            assert torch.equal(tensor, states[name]), f"{name} differs between the ranks"
        return job, fitted, seen + rows

    return run


def config_of(task: str, *overrides: str) -> dict[str, Any]:
    shared = ["trainer.precision=64-true", "trainer.max_epochs=3", "optimizer.lr=0.02"]
    small = [] if "model=linear" in overrides else ["model.widths=[5,4]"]
    return compose([*shared, *small, *TASKS[task], *overrides])


def assert_one_result(share: Callable[..., tuple[Job, Fit, Seen]], config: dict[str, Any]) -> Seen:
    alone = prepare_job(config)
    fitted = fit(alone, TrainerSettings.read(config["trainer"]))
    job, found, seen = share(config)
    assert (found.selected_epoch, found.epochs) == (fitted.selected_epoch, fitted.epochs)
    for (name, tensor), twin in zip(state(alone).items(), state(job).values(), strict=True):
        assert torch.allclose(tensor, twin, rtol=0, atol=1e-10), f"{name}: {(tensor - twin).abs().max()}"
    for row, twin_row in zip(fitted.history, found.history, strict=True):
        assert list(row) == list(twin_row)
        np.testing.assert_allclose(list(twin_row.values()), list(row.values()), rtol=0, atol=1e-8)
    return seen


# The law: each row once


@given(st.integers(0, 200), st.integers(1, 9))
def test_the_shares_of_a_batch_are_all_its_rows_once(rows: int, world: int) -> None:
    shares = [Ranks(rank, world).share(rows) for rank in range(world)]
    assert [row for share in shares for row in range(rows)[share]] == list(range(rows))
    sizes = [share.stop - share.start for share in shares]
    assert max(sizes) - min(sizes) <= 1


def test_two_processes_see_every_row_once_an_epoch(share: Callable[..., tuple[Job, Fit, Seen]]) -> None:
    config = config_of("two", "model.dropout=0.3")
    seen = assert_one_result(share, config)
    rows = prepare_job(config).dataset.train.x
    for epoch in range(3):
        visited = torch.cat([x for when, x, _ in seen if when == epoch]).numpy()
        assert sorted(map(tuple, visited)) == sorted(map(tuple, rows))
        # And not all by one.
        assert {len(x) for when, x, _ in seen if when == epoch} == {19, 18, 11}


# One result

WAYS = [
    ("two", "weighting=balanced", "weighting.by=count", "loss=focal"),
    ("three", "weighting=balanced", "optimizer=sgd", "trainer.gradient_clip_val=0.05"),
    ("two", "loss=aucm", "regularizer=[l1,input_gradient]", "scheduler=plateau"),
    ("two", "loss=pairwise_auc", "optimizer=sgd", "regularizer=input_gradient"),
    ("three", "loss=arcface", "optimizer=sgd", "regularizer=[feature_l2,confidence_penalty]"),
    ("two", "data.batch_size=null", "select.patience=1", "select.metric=val/log_loss"),
    ("two", "data.batch_size=19", "data.sampler=balanced"),  # the last batch has one row, and rank one none
]


@pytest.mark.parametrize("overrides", WAYS, ids=" ".join)
def test_one_result(share: Callable[..., tuple[Job, Fit, Seen]], overrides: tuple[str, ...]) -> None:
    assert_one_result(share, config_of(*overrides))


@pytest.mark.slow
@pytest.mark.parametrize("task", ["two", "three"])
@pytest.mark.parametrize("group", ["loss", "weighting", "regularizer", "optimizer", "scheduler"])
def test_one_result_for_every_yaml(share: Callable[..., tuple[Job, Fit, Seen]], group: str, task: str) -> None:
    compared = 0
    for name in sorted(path.stem for path in (CONF / group).glob("*.yaml") if path.stem != "none"):
        more = ["optimizer=sgd"] if name in BY_SGD else []
        vector = "weighting.vector=[1,3]" if task == "two" else "weighting.vector=[1,3,2]"
        try:
            config = config_of(task, f"{group}={name}", *more, *([vector] if name == "explicit" else []))
            prepare_job(config)
        except CannotServe:
            continue
        assert_one_result(share, config)
        compared += 1
    assert compared > 2


def test_a_persons_own_module_draws_other_dropout_on_every_rank(share: Callable[..., tuple[Job, Fit, Seen]]) -> None:
    model = {
        "_target_": "lossbench.models.external.external",
        "_partial_": True,
        "module": {"_target_": "torch.nn.Linear", "_partial_": True},
    }
    # Its masks are its own, for its rows: two ranks that drew the same would drop the same of different rows.
    for theirs, seeds in ((model, 2), (None, 1)):
        config = config_of("two", "trainer.max_epochs=1")
        _, _, seen = share({**config, "model": theirs or config["model"]})
        assert len({noise for _, _, noise in seen}) == seeds


# Refusals


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"devices": 0}, r"^trainer.devices is a number of processes >= 1 with strategy=ddp, got 0$"),
        ({"devices": "auto"}, r"^trainer.devices is a number of processes .*, got 'auto'$"),
        ({"num_nodes": 2}, r"^trainer.num_nodes is 1: .*, got 2$"),
    ],
)
def test_what_cannot_be_shared(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        TrainerSettings.read({"strategy": "ddp", "devices": 2, **changes})


def test_other_strategies_of_several_processes_are_refused() -> None:
    settings = TrainerSettings(devices=2, strategy="ddp_spawn")
    with hide_tips(), pytest.raises(UserError, match=r"^trainer.devices is one device, got 2 .* trainer=ddp shares"):
        build_trainer(settings, [], [])


def test_ddp_of_one_process_is_no_ddp() -> None:
    with hide_tips():
        trainer = build_trainer(TrainerSettings(strategy="ddp"), [], [])
    assert trainer.world_size == 1
