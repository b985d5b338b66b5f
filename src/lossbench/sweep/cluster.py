"""A sweep's chunks as jobs of a cluster: each a stack of replicates, since a job of Slurm takes seconds to start."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Literal

from lossbench.errors import UserError, one_line

if TYPE_CHECKING:
    from lossbench.sweep.stacks import Submitter

Cluster = Literal["local", "slurm"]
_LEAVE_SECONDS = 10.0


class _Submitted:
    """submitit's executor, whose jobs are waited for by a thread each."""

    def __init__(self, executor: Any) -> None:
        self._executor = executor
        self.jobs: list[Any] = []

    def submit(self, work: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        job = self._executor.submit(work, *arguments)
        self.jobs.append(job)
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()

        def wait() -> None:
            try:
                future.set_result(job.result())
            except BaseException as error:  # whatever ended it belongs to who waits
                future.set_exception(error)

        Thread(target=wait, daemon=True, name=f"job-{job.job_id}").start()
        return future


@contextmanager
def submitting_to(cluster: Cluster, folder: Path, parameters: Mapping[str, Any]) -> Iterator[Submitter]:
    """Yield what submits work to a cluster; what has not ended when the block breaks off is cancelled.

    Parameters
    ----------
    cluster
        ``slurm``, or ``local``: processes of this machine, started as a cluster would.
    folder
        Where submitit keeps the work, its results and its logs; the cluster's machines have to see it.
    parameters
        submitit's, such as ``timeout_min``, ``cpus_per_task``, ``slurm_partition``.

    Raises
    ------
    UserError
        Where submitit is not installed, or refuses the parameters.
    """
    try:
        import submitit
    except ImportError as error:
        raise UserError("hydra/launcher=submitit_* needs submitit: pip install 'lossbench[cluster]'") from error
    try:
        executor = submitit.AutoExecutor(folder=str(folder), cluster=cluster)
        executor.update_parameters(**parameters)
    except (ValueError, TypeError, AttributeError, RuntimeError, NameError) as error:
        raise UserError(f"hydra.launcher.parameters: {one_line(error)}") from error
    submitted = _Submitted(executor)
    try:
        yield submitted
        for job in submitted.jobs:
            # The local executor's helper, which would be interrupted with a traceback when the job is forgotten.
            helper = getattr(job, "_process", None)
            if helper is not None:
                helper.wait(_LEAVE_SECONDS)
    except BaseException:
        for job in submitted.jobs:
            if not job.done():
                job.cancel()
        raise
