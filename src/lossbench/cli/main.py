"""The console command: a verb, or Hydra overrides that describe a run or a sweep.

Nothing heavy is imported here, so that ``--help``, ``--cfg job`` and completion answer at Hydra's own speed.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from types import FrameType
from typing import NoReturn

from omegaconf import DictConfig

from lossbench.cli.overrides import as_options, asks_for_traceback
from lossbench.config import compose
from lossbench.errors import UserError
from lossbench.processes import lifetime
from lossbench.processes.lifetime import collect_rarely

DONE, INTERRUPTED, TERMINATED = 0, 130, 143

# The module of each verb has `main(arguments) -> exit status`; it is imported when the verb is called.
VERBS = {
    verb: f"lossbench.cli.{verb}"
    for verb in ("compare", "doctor", "evaluate", "explain", "export", "inspect", "new", "predict", "ui")
}


def main() -> NoReturn:
    """Run the console command and leave with its exit status."""
    collect_rarely()
    sys.exit(dispatch(sys.argv[1:]))


def dispatch(arguments: Sequence[str]) -> int:
    """Return the exit status: 0 done, 1 a job failed, 2 the user's error, 130 interrupted."""
    lifetime.raise_on_ctrl_c()
    signal.signal(signal.SIGTERM, _terminate)
    if any(argument.startswith("query=") for argument in arguments):
        _complete_verbs()
    show_traceback = asks_for_traceback(arguments)
    if arguments and arguments[0] in VERBS:
        return _guarded(lambda: import_module(VERBS[arguments[0]]).main(as_options(arguments[1:])), show_traceback)
    return _guarded(_train, show_traceback)


def _train() -> int:
    import hydra

    if _will_start_workers(sys.argv[1:]):
        from lossbench.processes import workers
        from lossbench.sweep.preload import SWEEP

        workers.start_early(SWEEP)
    # Hydra would print its own errors and leave with status 1; ours are one line, and a status says whose fault it was.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # Hydra reads its flags before the overrides; -m is typed anywhere.
    sys.argv[1:] = sorted(map(_as_override, sys.argv[1:]), key=lambda argument: argument not in ("-m", "--multirun"))
    hydra.main(version_base="1.3", config_path=str(compose.conf_dir()), config_name="train")(job)()
    return DONE


def _will_start_workers(arguments: Sequence[str]) -> bool:
    """Whether this command will start our own workers: other flags only print, other launchers bring their own."""
    flags = {argument for argument in arguments if argument.startswith("-")}
    alone = any(argument.startswith("hydra/launcher=") for argument in arguments)
    alone = alone or "hydra.launcher.processes=1" in arguments
    return bool(flags) and flags <= {"-m", "--multirun"} and not alone


def _as_override(argument: str) -> str:
    """Return what Hydra understands: ``--dry-run`` as a key, an id (which may look like a number) as a text."""
    if argument == "--dry-run":
        return "sweep.dry_run=true"
    key, _, value = argument.partition("=")
    return f'{key}="{value}"' if key == "sweep.resume" and value.isalnum() else argument


def job(config: DictConfig) -> float | dict[str, float]:
    """Run one job as Hydra composed it, alone or in a sweep; return the selecting metric, or a trial's figures."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    hydra = HydraConfig.get()
    if hydra.mode == RunMode.MULTIRUN:
        from lossbench.sweep.hydra_task import run_job

        return run_job(config)
    compose.make_importable(hydra.runtime.cwd)
    try:
        from lossbench.cli.train import train

        if config.get("tuning"):
            raise UserError("tuning=optuna tunes the objectives of a sweep: add -m, and several losses or seeds")
        return train(compose.plain(config, hydra.runtime.choices))
    except Exception as error:
        raise _PastHydra(error) from error


class _PastHydra(BaseException):
    """Carries a run's error through Hydra, which would print lines of its own for an Exception."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def _guarded(action: Callable[[], int], show_traceback: bool) -> int:
    """Turn whatever ends the command into one line and an exit status."""
    try:
        return action()
    except KeyboardInterrupt:
        return _say_interrupted()
    except SystemExit as leave:
        return leave.code if isinstance(leave.code, int) else DONE if leave.code is None else UserError.status
    except BrokenPipeError:
        # The reader of our output has gone (`lossbench compare | head`); nothing is left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except (Exception, _PastHydra) as raised:
        if _came_of_an_interrupt(raised):
            return _say_interrupted()
        error = raised.error if isinstance(raised, _PastHydra) else raised
        if show_traceback:
            traceback.print_exception(error)
        from lossbench.cli.messages import explain, unusable_path

        in_a_job = isinstance(raised, _PastHydra)
        explanation = (None if in_a_job else unusable_path(error)) or explain(error, sys.argv[1:])
        print(f"lossbench: {explanation.line}", file=sys.stderr)
        if explanation.is_unexpected and not show_traceback:
            print("lossbench: traceback=true shows where", file=sys.stderr)
        return explanation.status


def _say_interrupted() -> int:
    print("lossbench: interrupted", file=sys.stderr)
    return INTERRUPTED


def _came_of_an_interrupt(error: BaseException | None) -> bool:
    """Whether a KeyboardInterrupt broke what then raised this: OmegaConf's clearing up stumbles over it, for one."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    # As an exception, so that what is running can record that it was killed.
    raise SystemExit(TERMINATED)


def _complete_verbs() -> None:
    """Print the verbs that the word being completed could become; Hydra then adds its own candidates."""
    line = os.environ.get("COMP_LINE", "")
    words = line.split(" ")
    if len(words) == 2:
        for verb in VERBS:
            if verb.startswith(words[1]):
                print(verb)
