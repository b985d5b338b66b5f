"""The run that a person means: by id, by the name of a registered model, or as the best of a sweep."""

from __future__ import annotations

import difflib
import re

import pandas as pd

from lossbench.comparison.datasets import DATA
from lossbench.errors import UserError
from lossbench.evaluation.catalogue import direction_of
from lossbench.tracking import read
from lossbench.tracking.models import ChosenRun, find_by_id, find_by_registered_name, registered_names
from lossbench.tracking.schema import JUDGED_BY, Role, Tag, key, name_of
from lossbench.tracking.search import read_run
from lossbench.tracking.store.open import Store


def find_run(store: Store, text: str) -> ChosenRun:
    """Return the run that a person names.

    Parameters
    ----------
    text
        A run's id or its first 6 or more characters; the name of a registered model, for its newest version, or
        ``name/3`` or ``name@alias``; ``best of <sweep>``, where the sweep is a name, an id, or ``last``.

    Raises
    ------
    UserError
        Where it names no run, or more than one.
    """
    text = text.strip()
    best = re.fullmatch(r"best\s+of\s+(.+)", text)
    if best is not None:
        return best_of(store, best[1])
    chosen = find_by_id(store, text) or find_by_registered_name(store, text)
    if chosen is not None:
        return chosen
    names = registered_names(store)
    near = difflib.get_close_matches(text, names, n=5, cutoff=0.4) or names[:5]
    hint = f"; registered are {', '.join(map(repr, near))}" if near else ""
    raise UserError(
        f"{text!r} is neither the id of a run in {store.place}, nor a registered model, nor 'best of <sweep>'{hint}"
    )


def best_of(store: Store, name: str) -> ChosenRun:
    """Return one run of a sweep's best objective: by validation, never by test.

    The objective with the best mean over its finished runs, in the metric that the sweep is judged by, taken on
    validation: whoever picked by test figures could not quote them any more. Within the objective, the best run where
    all were validated on the same rows; else the one nearest to the median, since a run whose validation rows were
    easy ones is no better a model.
    """
    sweep = read.find_sweep(store, name)
    runs = read.runs(store, sweep.id, status="FINISHED")
    runs = runs[runs["role"] == Role.RUN]
    judged = sweep.tags.get(Tag.METRIC, JUDGED_BY)
    metric = key("val", name_of(judged))
    column = f"metrics.{metric}"
    if column not in runs or not runs[column].notna().any():
        raise UserError(f"no finished run of the sweep {sweep.name!r} ({sweep.id}) has {metric}, which picks the best")
    runs = runs[runs[column].notna()]
    if DATA in runs and runs[DATA].nunique() > 1:
        names = ", ".join(sorted(map(str, runs[DATA].unique())))
        raise UserError(f"the sweep {sweep.name!r} ({sweep.id}) trained on several data ({names}): name a run instead")
    sign = 1 if direction_of(metric, sweep.tags.get(Tag.DIRECTION)) == "max" else -1
    means = (sign * runs.groupby("objective")[column].mean()).sort_values(ascending=False, kind="stable")
    best = runs[runs["objective"] == means.index[0]]
    chosen, why = _choose(best, column, sign)
    of = f"over {len(best)} {'run' if len(best) == 1 else 'runs'}"
    reason = f"best of {sweep.name}: {means.index[0]}, by its mean {metric} of {sign * means.iloc[0]:.4f} {of}{why}"
    return ChosenRun(read_run(store, chosen), reason)


def _choose(runs: pd.DataFrame, column: str, sign: int) -> tuple[str, str]:
    values = sign * runs.set_index("run_id")[column]
    if len(runs) == 1:
        return str(values.index[0]), ""
    if runs["val_digest"].nunique(dropna=False) == 1:
        return str(values.idxmax()), ", its best (all have the same validation rows)"
    return str((values - values.median()).abs().idxmin()), ", its median one (each has validation rows of its own)"
