"""Fit a job with Lightning's Trainer: the reference that every faster way has to equal."""

from __future__ import annotations

import logging
import signal
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import lightning as L
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, LearningRateMonitor
from lightning.pytorch.loggers import Logger

from lossbench.errors import UserError, one_line
from lossbench.training.fit import Diverged, Fit
from lossbench.training.job import Job
from lossbench.training.lightning.callbacks import EndEpoch, LiveBar, ResumePoint
from lossbench.training.lightning.datamodule import DataModule
from lossbench.training.lightning.ddp import strategy
from lossbench.training.lightning.learner import Learner
from lossbench.training.lightning.shared_batch import ALONE, Ranks
from lossbench.training.selection import Selection
from lossbench.training.settings import STRATEGIES, TrainerSettings


def build_trainer(
    settings: TrainerSettings,
    callbacks: Sequence[Callback],
    loggers: Sequence[Logger],
    *,
    epochs: int | None = None,
    rank: int = 0,
) -> L.Trainer:
    """Build Lightning's Trainer without what we replace: its bars, its checkpoints, its metric logging, its launcher.

    ``rank`` is this process's among those that share the run.

    Raises
    ------
    UserError
        Where the trainer refuses its settings or the machine lacks the accelerator.
    """
    if settings.accelerator == "mps":
        raise UserError("trainer.accelerator=mps cannot serve: Apple's MPS has no float64; use trainer=cpu")
    for key, parts, kind in (("callbacks", callbacks, Callback), ("tracking.loggers", loggers, Logger)):
        for part in parts:
            if not isinstance(part, kind):
                raise UserError(f"{key} takes Lightning's {kind.__name__}, got {type(part).__name__}")
    if not loggers and any(isinstance(callback, LearningRateMonitor) for callback in callbacks):
        raise UserError("callbacks=learning_rate needs a logger beside MLflow to write to: tracking=csv")
    arguments = settings.arguments
    if settings.strategy in STRATEGIES:
        del arguments["strategy"]
    if settings.world > 1:
        assert settings.strategy is not None
        arguments["strategy"] = strategy(settings.strategy, Ranks(rank, settings.world))
    try:
        trainer = L.Trainer(
            **arguments,
            max_epochs=epochs,
            callbacks=list(callbacks),
            logger=list(loggers) or False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            # Rows go to the loggers once an epoch, from the learner.
            log_every_n_steps=0,
        )
    except Exception as error:  # it has seen nothing but its settings
        raise UserError(f"trainer: {one_line(error)}") from error
    if trainer.world_size != settings.world:
        raise UserError(
            f"trainer.devices is one device, got {settings.devices!r} for {trainer.world_size} processes; "
            "trainer=ddp shares a run among several"
        )
    return trainer


def fit(
    job: Job,
    settings: TrainerSettings,
    *,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
    checkpoint: Path | None = None,
    resume_every: int | None = None,
    resume_from: Path | None = None,
    report: Callable[[Mapping[str, float]], None] | None = None,
    live: bool = False,
    ranks: Ranks = ALONE,
) -> Fit:
    """Train a job with Lightning and leave the selected epoch in its network and objective.

    Parameters
    ----------
    job
        What to train.
    settings
        Arguments of ``lightning.Trainer``; the number of epochs is the job's.
    callbacks, loggers
        The user's own, beside ours.
    checkpoint, resume_every
        Write the first at every n-th epoch boundary.
    resume_from
        A file that an earlier fit wrote as ``checkpoint``.
    report
        Called with each epoch's row as it comes.
    live
        Show a progress bar.
    ranks
        This process's place among those that share the run, in a process group that stands.

    Raises
    ------
    Diverged
        When a loss or a parameter is no longer finite.
    KeyboardInterrupt
        On Ctrl-C, which Lightning turns into SystemExit.
    UserError
        For a network without parameters or settings that the trainer refuses.
    """
    select = EndEpoch(Selection(job.rule))
    ours: list[Callback] = [select]
    if checkpoint is not None and resume_every is not None:
        ours.append(ResumePoint(checkpoint, resume_every))
    if live:
        ours.append(LiveBar(job.rule.metric))
    learner = Learner(job, report, ranks)
    # A profiler's report is an INFO line like the others.
    with hide_tips(logging.INFO if settings.others.get("profiler") else logging.WARNING), _interruptible():
        trainer = build_trainer(settings, [*ours, *callbacks], loggers, epochs=job.epochs, rank=ranks.rank)
        start = time.perf_counter()
        try:
            trainer.fit(learner, datamodule=DataModule(job), ckpt_path=resume_from, weights_only=True)
        except SystemExit as stop:
            # Any other exit (SIGTERM) passes through Lightning as it is.
            if isinstance(stop.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from stop
            raise
        except MisconfigurationException as error:
            raise UserError(f"trainer: {one_line(error)}") from error
        seconds = time.perf_counter() - start
    if not learner.history:
        raise UserError("trainer ended before its first epoch was over: a limit on batches, steps or time is too tight")
    if select.selection.epoch[0] < 0:
        raise Diverged(f"{job.rule.metric} was undefined in every epoch, so no epoch can be selected")
    if select.parameters is not None:
        learner.load_state_dict(select.parameters)
    learner.cpu()
    return Fit(int(select.selection.epoch[0]), len(learner.history), learner.history, seconds)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Undo Lightning's handling of Ctrl-C, which leaves SIGINT ignored for the rest of the process."""
    try:
        before = signal.getsignal(signal.SIGINT)
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and before is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, before)


@contextmanager
def hide_tips(level: int = logging.WARNING) -> Iterator[None]:
    """Keep Lightning's tips and hardware lines out of the terminal; its warnings and errors stay."""
    logger = logging.getLogger("lightning.pytorch")
    before = logger.level
    logger.setLevel(level)
    with warnings.catch_warnings():
        # In-memory tensors need no loader workers (lightning 2.6: trainer/connectors/data_connector.py).
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        # lightning 2.6 calls an isinstance check that torch 2.13 deprecates (lightning/pytorch/utilities/_pytree.py).
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        # torch 2.13's DDP, of a matrix of one row (torch/csrc/distributed/c10d/reducer.cpp); the numbers are the same.
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
        try:
            yield
        finally:
            logger.setLevel(before)
