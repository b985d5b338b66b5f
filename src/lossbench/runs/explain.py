"""A run explained on its own test rows, which are drawn again from its config."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lossbench.config.build import blame
from lossbench.data.source import Source
from lossbench.errors import UserError
from lossbench.inference.importance import Explained, explain
from lossbench.inference.predictor import Predictor
from lossbench.inference.rebuild import rebuild
from lossbench.runs.description import rows_digest, rows_tags
from lossbench.tracking.models import ChosenRun, read_model
from lossbench.tracking.schema import SELECTED_BY, digest_tag, name_of

if TYPE_CHECKING:
    from lossbench.tracking.store.open import Store


def explain_run(store: Store, chosen: ChosenRun, *, metric: str | None = None, trust: bool = False) -> dict[str, Any]:
    """Explain a run on its test split, in plain containers.

    Parameters
    ----------
    metric
        As in `lossbench.inference.importance.explain`; None: the one that selected the epoch.

    Raises
    ------
    UserError
        Where the data cannot be drawn again, or is not what it was.
    """
    predictor = Predictor.load(
        io.BytesIO(read_model(store, chosen.run)), f"the model of run {chosen.run_id}", trust=trust
    )
    split, parsed, target = draw_held_out(predictor, chosen.run.tags, trust=trust)
    return describe(chosen, split, explain(predictor, parsed, target, metric or selected_by(predictor)))


def selected_by(predictor: Predictor) -> str:
    """Return the metric by which a run's epoch was selected, without its split."""
    return name_of(str(predictor.config["select"]["metric"] or SELECTED_BY))


def describe(chosen: ChosenRun, split: str, explained: Explained) -> dict[str, Any]:
    """Return an explanation as the record keeps it and the report reads it."""
    return {
        "run_id": chosen.run_id,
        "run": chosen.name,
        "reason": chosen.reason,
        "split": split,
        "metric": explained.metric,
        "value": explained.value,
        "importances": explained.importances.to_dict("records"),
        "mistakes": explained.mistakes.astype(object).where(explained.mistakes.notna(), None).to_dict("records"),
    }


def draw_held_out(
    predictor: Predictor, tags: Mapping[str, str], *, trust: bool = False
) -> tuple[str, pd.DataFrame, NDArray[np.int64]]:
    """Return the name of a run's last split (test, else val), its parsed columns and its class indices."""
    with blame("data"):
        source = rebuild(predictor.config["data"], "data", trust=trust, also=(Source,))
        if not isinstance(source, Source):
            raise UserError(f"data is a lossbench.data.source.Source, got {type(source).__name__}")
        dataset, draw = source.prepare(), source.draw()
    split, rows = ("test", dataset.test) if dataset.test is not None else ("val", dataset.val)
    # Older runs hold the digest of the rows in their order.
    digests = {rows_tags(dataset)[digest_tag(split)], rows_digest(dataset, rows.index)}
    if tags.get(digest_tag(split)) not in digests:
        raise UserError(f"the data of {dataset.name!r} is no longer what the run was made from: name a table")
    x = draw.test[0] if split == "test" and draw.test is not None else draw.x
    if not isinstance(x, pd.DataFrame):
        x = pd.DataFrame(x, columns=list(draw.feature_names))
    parsed = x[list(predictor.preprocessing.schema)].iloc[rows.index]
    return split, parsed.set_axis(pd.Index(rows.index + 1), axis=0), rows.y
