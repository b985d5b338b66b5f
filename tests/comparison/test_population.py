"""What runs are a sample of decides which differences count as independent, and the test."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lossbench.comparison.leaderboard import build_leaderboard
from lossbench.comparison.population import population
from lossbench.comparison.sign_flip import SignFlip


def sweep(
    seeds: int = 8,
    *,
    claim: str | None = "draws",
    objectives: tuple[str, ...] = ("cross_entropy", "focal"),
    folds: tuple[int | None, ...] = (None,),
    source: int | None = None,
    split: int | None = None,
    data: str = "rings",
    own_test: bool = False,
    positives: tuple[int, ...] = (200,),
) -> pd.DataFrame:
    """Return runs with random values, as lossbench would record them: 60, 20 and 20 rows."""
    rng = np.random.default_rng(seeds)
    rows = []
    for objective in objectives:
        for seed in range(seeds):
            for fold in folds:
                for count in positives:
                    from_source, from_split = (seed if s is None else s for s in (source, split))
                    drawn = f"{data} {count}" + (f" {from_source}" if claim == "draws" else "")
                    rows.append(
                        {
                            "objective": objective + (f" · data.positives={count}" if len(positives) > 1 else ""),
                            "params.data": data,
                            "params.data.positives": count,
                            "params.seed": seed,
                            "params.fold": fold,
                            "params.data.source_seed": from_source,
                            "params.data.split_seed": from_split,
                            "seeds": claim,
                            "val_digest": f"{drawn} {from_split}",
                            "test_digest": drawn if own_test else f"{drawn} {from_split} {fold}",
                            "metrics.test/auroc": rng.normal(),
                        }
                    )
    return pd.DataFrame(rows).assign(
        role="run", status="FINISHED", seconds=1.0, rows_train=60.0, rows_val=20.0, rows_test=20.0
    )


def wide(frame: pd.DataFrame) -> pd.Series:
    """Return focal minus cross_entropy by seed, averaged over whatever else there is."""
    short = frame.assign(objective=frame["objective"].str.split(" ").str[0])
    table = short.pivot_table(index="params.seed", columns="objective", values="metrics.test/auroc")
    return table["focal"] - table["cross_entropy"]


def focal(frame: pd.DataFrame) -> dict[str, float]:
    table = build_leaderboard(frame, "test/auroc").table
    (found,) = table[table["objective"] == "focal"].to_dict("records")
    return found


def test_fresh_draws() -> None:
    frame = sweep()
    assert population(frame, "test/auroc").kind == "draws"
    theirs = stats.permutation_test(
        (wide(frame).to_numpy(),), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True
    )
    assert focal(frame)["p"] == pytest.approx(theirs.pvalue, abs=1e-10)


def test_folds_and_variants_of_one_draw_are_one_value() -> None:
    frame = sweep(folds=(0, 1, 2), positives=(50, 200))
    found = focal(frame)
    assert found["pairs"] == 8 * 3 * 2
    assert found["p"] == pytest.approx(SignFlip().two_sided(wide(frame).to_numpy()), abs=1e-10)
    assert found["difference"] == pytest.approx(wide(frame).mean(), abs=1e-12)


@pytest.mark.parametrize("how", [{"claim": "splits"}, {"source": 0}], ids=["a table", "one draw"])
def test_splits_of_one_table(how: dict) -> None:
    frame = sweep(**how)
    about = population(frame, "test/auroc")
    assert (about.kind, about.test.ratio) == ("splits", 0.25)
    assert population(frame, "val/auroc").test.ratio == pytest.approx(1 / 3)
    assert population(frame, "train/auroc").test is None
    d = wide(frame)
    t = d.mean() / (d.std() * (1 / 8 + 0.25) ** 0.5)
    assert focal(frame)["p"] == pytest.approx(2 * stats.t.sf(abs(t), 7), abs=1e-10)
    assert any("approximate" in line for line in build_leaderboard(frame, "test/auroc").protocol)


def test_splits_without_their_sizes_are_described_only() -> None:
    found = focal(sweep(claim="splits").drop(columns="rows_val"))
    assert found["verdict"] is None
    assert np.isfinite(found["difference"])


def test_seeds_of_training_on_one_split_are_one_value_of_that_split() -> None:
    frame = sweep(seeds=6, claim="splits")
    frame["params.data.split_seed"] = frame["params.seed"] % 3
    frame["test_digest"] = frame["params.data.split_seed"].astype(str)
    by_split = frame.pivot_table(index="params.data.split_seed", columns="objective", values="metrics.test/auroc")
    d = by_split["focal"] - by_split["cross_entropy"]
    t = d.mean() / (d.std() * (1 / 3 + 0.25) ** 0.5)
    # Whatever the test, three differences have no smaller p than signs have.
    assert focal(frame)["p"] == pytest.approx(max(2 * stats.t.sf(abs(t), 2), 2 / 2**3), abs=1e-10)
    assert focal(frame)["n"] == 6


@pytest.mark.parametrize(
    "how",
    [{"claim": "splits", "split": 3}, {"source": 0, "own_test": True}],
    ids=["a fixed split", "a draw with a test draw of its own"],
)
def test_one_fixed_split(how: dict) -> None:
    frame = sweep(**how)
    about = population(frame, "test/auroc")
    assert about.kind == "fixed"
    assert "more seeds do not make up for few rows" in about.sentence
    # Twelve seeds on one set of rows are no twelve test sets.
    assert focal(frame)["verdict"] is None
    assert focal(frame)["difference"] == pytest.approx(wide(frame).mean(), abs=1e-12)


def test_several_datasets_give_one_value_each() -> None:
    parts = [sweep(3, claim="splits", data=name).assign(order=place) for place, name in enumerate("abcdefg")]
    frame = pd.concat(parts, ignore_index=True)
    frame["metrics.test/auroc"] += frame["order"] * (frame["objective"] == "focal") / 7
    frame["objective"] += " · " + frame["params.data"]
    table = frame.assign(objective=frame["objective"].str.split(" ").str[0]).pivot_table(
        index="params.data", columns="objective", values="metrics.test/auroc"
    )
    d = (table["focal"] - table["cross_entropy"]).to_numpy()
    found = focal(frame)
    assert found["p"] == pytest.approx(SignFlip().two_sided(d), abs=1e-10)
    assert found["difference"] == pytest.approx(d.mean())
    assert found["mean"] == pytest.approx(table["focal"].mean())
    assert found["pairs"] == 21
    board = build_leaderboard(frame[frame["order"] < 5], "test/auroc")
    few = board.table
    assert set(few["verdict"].dropna()) == {"undecided", "baseline"}
    assert any("too few datasets: 5, and fewer than 6 decide nothing" in line for line in board.protocol)
    assert isinstance(population(frame.assign(role="run"), "test/auroc").test, SignFlip)
    board = build_leaderboard(frame.drop(index=frame.index[frame["objective"] == "focal · c"]), "test/auroc")
    assert "focal has values on 6 of 7 datasets alone: the rest is estimated from the others" in board.notes


def test_runs_that_do_not_say() -> None:
    frame = sweep(claim=None)
    assert population(frame, "test/auroc").kind == "unknown"
    assert any("do not say" in line for line in build_leaderboard(frame, "test/auroc").protocol)
    assert population(sweep(claim=None, folds=(0, 1)), "test/auroc").test is None


def test_the_order_of_runs_does_not_matter() -> None:
    frame = sweep(objectives=("cross_entropy", "focal", "mse"))
    first = build_leaderboard(frame, "test/auroc").table
    again = build_leaderboard(frame.sample(frac=1, random_state=1).reset_index(drop=True), "test/auroc").table
    pd.testing.assert_frame_equal(first, again)
