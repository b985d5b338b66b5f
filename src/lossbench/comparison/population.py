"""What a comparison speaks about: it decides which differences are independent, and which test may judge them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from lossbench.comparison.corrected_t import CorrectedT
from lossbench.comparison.datasets import DATASET, FAMILY, are, with_families
from lossbench.comparison.pairs import pairing
from lossbench.comparison.sign_flip import SignFlip
from lossbench.comparison.verdicts import PairedTest

SEED, FOLD = "params.seed", "params.fold"
SOURCE_SEED, SPLIT_SEED = "params.data.source_seed", "params.data.split_seed"

Kind = Literal["draws", "splits", "fixed", "datasets", "unknown"]


@dataclass(frozen=True)
class Population:
    """What the statements speak about.

    Parameters
    ----------
    kind
        ``draws``: every seed draws its own rows; ``splits``: of one table; ``fixed``: the same judged rows
        throughout; ``datasets``: several; ``unknown``: the runs do not say.
    sentence
        The same for a person.
    test
        Which test judges; None where none is known to hold, and the comparison describes.
    unit
        Columns that tell independent differences apart: all runs that agree in them are averaged into one.
    units
        What a person calls them, in the plural.
    """

    kind: Kind
    sentence: str
    test: PairedTest | None
    unit: tuple[str, ...]
    units: str = "seeds"


def population(runs: pd.DataFrame, metric: str, by: Sequence[str] = ("objective",)) -> Population:
    """Read from the runs what they are a sample of.

    By what each run recorded: whether its source's seeds are draws or splits, the digest of the judged rows and the
    sizes of the splits. A source of draws whose ``data.source_seed`` is one while seeds vary is one table.

    Parameters
    ----------
    runs
        Finished jobs, as from `tracking.read.runs`.
    metric
        The judged metric; its split is the judged rows.
    by
        What is compared.
    """
    runs = with_families(runs)
    keys = pairing(runs, by)
    if FAMILY in keys and runs[DATASET].nunique() > 1:
        families, datasets = runs[FAMILY].nunique(), runs[DATASET].nunique()
        return Population(
            "datasets",
            f"{are(families, datasets)}, one value each: statements speak about datasets like these",
            SignFlip(),
            (FAMILY,),
            "datasets" if families == datasets else "families",
        )
    split = metric.split("/", 1)[0]
    claims = set(runs["seeds"].dropna()) if "seeds" in runs else set()
    if not claims:
        return _unknown(runs, keys)
    if claims == {"draws"} and not _constant_source(runs):
        unit = SOURCE_SEED if SOURCE_SEED in keys else SEED
        return Population(
            "draws",
            "fresh draws: every seed draws its own training and judged rows; statements speak about new draws, and "
            "assume that differences are symmetric about their mean",
            SignFlip(),
            (unit,) if unit in keys else (),
        )
    if _same_rows(runs, keys, f"{split}_digest"):
        return Population(
            "fixed",
            f"all seeds are judged on the same {split} rows: more seeds do not make up for few rows, so "
            "differences are described, not judged",
            None,
            (SEED,) if SEED in keys else (),
        )
    # Runs on one split that differ in the seed of training alone are one value of that split.
    unit_of_splits = tuple(key for key in (SPLIT_SEED if SPLIT_SEED in keys else SEED, FOLD) if key in keys)
    ratio = _ratio(runs, split)
    sentence = "repeated splits of one table, which share rows"
    if ratio is None:
        sentence += f"; the runs do not say how many rows {split} and the rest have: described, not judged"
        return Population("splits", sentence, None, unit_of_splits, "splits")
    sentence += (
        ": statements are approximate, and speak about new rows from where the table came; "
        f"{split} rows / the others = {ratio:.3g}"
    )
    return Population("splits", sentence, CorrectedT(ratio), unit_of_splits, "splits")


def _unknown(runs: pd.DataFrame, keys: Sequence[str]) -> Population:
    said = "the runs do not say whether seeds are independent draws"
    if FOLD in keys and runs[FOLD].nunique(dropna=False) > 1:
        return Population("unknown", f"{said}, and folds are not: described, not judged", None, tuple(keys), "pairs")
    sentence = f"{said}: statements hold if they are, and not for splits of one table"
    return Population("unknown", sentence, SignFlip(), (SEED,) if SEED in keys else ())


def _constant_source(runs: pd.DataFrame) -> bool:
    return (
        SOURCE_SEED in runs
        and runs[SOURCE_SEED].nunique() == 1
        and any(column in runs and runs[column].nunique() > 1 for column in (SEED, SPLIT_SEED, FOLD))
    )


def _same_rows(runs: pd.DataFrame, keys: Sequence[str], digest: str) -> bool:
    """Are the judged rows the same throughout, for each variant of the data?"""
    if digest not in runs or runs[digest].isna().any():
        return False
    replicates = (SEED, FOLD, SOURCE_SEED, SPLIT_SEED)
    variant = [key for key in keys if key not in replicates]
    groups = runs.groupby(variant, dropna=False)[digest] if variant else runs.groupby(lambda _: 0)[digest]
    return bool((groups.nunique() == 1).all())


def _ratio(runs: pd.DataFrame, split: str) -> float | None:
    """Return judged rows / rows learnt or selected on; the largest of the runs."""
    columns = {"test": ["rows_train", "rows_val"], "val": ["rows_train"]}.get(split, [])
    needed = [*columns, f"rows_{split}"]
    if not columns or not set(needed) <= set(runs) or runs[needed].isna().to_numpy().any():
        return None
    return float((runs[f"rows_{split}"] / runs[columns].sum(axis=1)).max())
