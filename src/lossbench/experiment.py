"""What notebooks import: a config is composed, prepared, fitted, evaluated and recorded, in one step or in several."""

from lossbench.config.compose import compose
from lossbench.runs.execute import Result, evaluate, execute, fit, run
from lossbench.runs.prepare import draw
from lossbench.runs.prepare import prepare_job as prepare

__all__ = ["Result", "compose", "draw", "evaluate", "execute", "fit", "prepare", "run"]
