"""The fitted map from raw columns to features: scikit-learn's, exact through a file, and clear in what it refuses."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, RobustScaler, StandardScaler

from lossbench.data.preprocessing import Preprocessing
from lossbench.data.tables.fitting import Recipe, fit
from lossbench.data.tables.parsing import Kind, parse
from lossbench.errors import DataError

KINDS: dict[str, Kind] = {
    "age": "numeric",
    "größe": "numeric",
    "member": "boolean",
    "city": "categorical",
    "since": "date",
}
ROWS = 300
CITIES = ["Bern", "Zürich", "東京", "Oslo", "Rome", "Lima"]


def people(seed: int = 0, rows: int = ROWS) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": random.integers(18, 90, rows).astype(float),
            "größe": random.normal(170, 9, rows),
            "member": (random.random(rows) < 0.3).astype(object),
            "city": random.choice(CITIES, rows, p=[0.4, 0.3, 0.2, 0.06, 0.03, 0.01]),
            "since": pd.Timestamp("2019-03-01") + pd.to_timedelta(random.integers(0, 90_000, rows), unit="h"),
        }
    )  # fmt: skip
    for place, name in enumerate(["age", "member", "city", "since"]):
        frame.loc[random.random(rows) < 0.1 * place, name] = None
    return frame


def parsed(frame: pd.DataFrame, kinds: Mapping[str, Kind] = KINDS) -> pd.DataFrame:
    return pd.DataFrame({name: parse(frame[name], name, kind) for name, kind in kinds.items()})


def fitted(recipe: Recipe | None = None, frame: pd.DataFrame | None = None) -> Preprocessing:
    return fit(parsed(people() if frame is None else frame), KINDS, recipe or Recipe(), {})


@pytest.mark.parametrize("impute", ["median", "mean", "most_frequent"])
@pytest.mark.parametrize(
    ("scale", "scaler"),
    [("standard", StandardScaler()), ("robust", RobustScaler()), ("minmax", MinMaxScaler()), ("none", "passthrough")],
)
@pytest.mark.parametrize(("min_frequency", "max_categories"), [(1, 20), (12, 20), (0.05, 20), (1, 4)])
def test_it_is_the_column_transformer(
    impute: Any, scale: Any, scaler: Any, min_frequency: int | float, max_categories: int
) -> None:
    train, later = people(0), people(1)
    later.loc[0, "city"] = "Atlantis"
    reference = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy=impute), scaler), ["age", "größe"]),
            ("booleans", make_pipeline(SimpleImputer(strategy="most_frequent"), scaler), ["member"]),
            (
                "text",
                OneHotEncoder(
                    min_frequency=min_frequency, max_categories=max_categories,
                    handle_unknown="infrequent_if_exist", sparse_output=False,
                ),
                ["city"],
            ),
        ]
    )  # fmt: skip

    def plain(frame: pd.DataFrame) -> pd.DataFrame:
        text = frame["city"].astype(object).where(frame["city"].notna(), None)
        return frame.assign(member=frame["member"].astype(float), city=text)

    reference.fit(plain(train))
    kinds = {name: kind for name, kind in KINDS.items() if kind != "date"}
    recipe = Recipe(impute, False, scale, min_frequency, max_categories)
    ours = fit(parsed(train, kinds), kinds, recipe, {})
    for frame in (train, later):
        expected = reference.transform(plain(frame))
        found = ours.apply(frame)
        np.testing.assert_allclose(found[:, :3], expected[:, :3], rtol=0, atol=1e-12)
        # scikit-learn has a column for every level, sorted, and the rare ones last; so have we
        np.testing.assert_array_equal(found[:, 3:], expected[:, 3:])


def test_dates_become_days_and_angles() -> None:
    frame = people()[["since"]]
    ours = fit(parsed(frame, {"since": "date"}), {"since": "date"}, Recipe(), {})
    x = ours.apply(frame)
    filled = frame["since"].fillna(frame["since"].median())
    days = (filled - pd.Timestamp("1970-01-01")) / pd.Timedelta(days=1)
    np.testing.assert_allclose(x[:, 0], (days - days.mean()) / days.std(ddof=0), atol=1e-10)
    for sine, part in ((1, 0), (3, 1), (5, 2)):
        turn = [
            (filled.dt.day_of_year - 1 + days % 1) / np.where(filled.dt.is_leap_year, 366, 365),
            ((filled.dt.day_of_week + 1) % 7 + days % 1) / 7,
            filled.dt.hour / 24,
        ][part]
        np.testing.assert_allclose(x[:, sine], np.sin(2 * np.pi * turn), atol=1e-6)
        np.testing.assert_allclose(x[:, sine + 1], np.cos(2 * np.pi * turn), atol=1e-6)
    np.testing.assert_array_equal(x[:, 7], frame["since"].isna())
    assert ours.feature_names[-1] == "since missing"


def test_days_without_times_have_no_angle_of_the_day() -> None:
    frame = pd.DataFrame({"since": ["2020-02-29", "2021-01-01", "1969-12-31"]})
    ours = fit(parsed(frame, {"since": "date"}), {"since": "date"}, Recipe(scale="none"), {})
    assert ours.feature_names == (
        "since days", "since sine of year", "since cosine of year", "since sine of week", "since cosine of week",
    )  # fmt: skip
    assert ours.apply(frame)[:, 0].tolist() == [18321.0, 18628.0, -1.0]


@settings(derandomize=True, deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 99),
    scale=st.sampled_from(["standard", "robust", "minmax", "none"]),
    frequency=st.sampled_from([1, 5, 0.2]),
)
def test_a_file_of_plain_values_rebuilds_it_exactly(seed: int, scale: Any, frequency: int | float) -> None:
    ours = fitted(Recipe(scale=scale, min_frequency=frequency), people(seed))
    buffer = io.BytesIO()
    torch.save(ours.state, buffer)
    buffer.seek(0)
    rebuilt = Preprocessing.from_state(torch.load(buffer, weights_only=True))
    later = people(seed + 1000)
    assert rebuilt.columns == ours.columns
    assert rebuilt.apply(later).tobytes() == ours.apply(later).tobytes()
    assert rebuilt.schema == ours.schema == KINDS


def test_the_example_is_a_row_that_it_takes() -> None:
    ours = fitted()
    example = ours.example
    assert example.loc[0, "city"] == "Bern"
    assert bool(example.loc[0, "member"]) is False
    assert ours.apply(example).shape == (1, ours.n_features)
    assert pd.Timestamp(example.loc[0, "since"]).year == 2024


@pytest.mark.parametrize("written", ["csv", "parquet"])
def test_the_way_a_table_is_held_does_not_matter(written: str) -> None:
    frame = people()
    expected = fitted().apply(frame)
    buffer = io.BytesIO()
    if written == "csv":
        frame.to_csv(buffer, index=False)
    else:
        frame.assign(city=frame["city"].astype("category"), member=frame["member"].astype("boolean")).to_parquet(buffer)
    buffer.seek(0)
    read = pd.read_csv(buffer) if written == "csv" else pd.read_parquet(buffer)
    shuffled = read[read.columns[::-1]].assign(extra=1)
    shuffled.index = pd.Index(range(5, 5 + len(shuffled)))
    np.testing.assert_allclose(fitted().apply(shuffled), expected, rtol=0, atol=1e-12)
    single = fitted().apply(shuffled, dtype=np.float32)
    assert single.dtype == np.float32
    np.testing.assert_array_equal(single, fitted().apply(shuffled).astype(np.float32))


def test_unseen_and_rare_levels_share_a_column_where_there_were_rare_ones() -> None:
    frame = pd.DataFrame({"city": ["a"] * 6 + ["b"] * 6 + ["c"]})
    for frequency, row in ((5, [0.0, 0.0, 1.0]), (1, [0.0, 0.0, 0.0])):
        ours = fit(parsed(frame, {"city": "categorical"}), {"city": "categorical"}, Recipe(min_frequency=frequency), {})
        assert ours.apply(pd.DataFrame({"city": ["new"]})).tolist() == [row]
    assert ours.apply(pd.DataFrame({"city": [None]})).tolist() == [[0.0, 0.0, 0.0]]


def test_values_in_original_units() -> None:
    ours = fitted()
    x = ours.apply(people(3))
    back = ours.undo(x)
    np.testing.assert_allclose(ours.scale(back), x, atol=1e-12)
    np.testing.assert_allclose(back[:, ours.feature_names.index("größe")], people(3)["größe"], rtol=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"age": ["old"]}, "column 'age' needs a number in row 11, got 'old'"),
        ({"age": [np.inf]}, "column 'age' has an infinite value in row 11"),
        ({"age": [pd.Timestamp("2020-01-01")]}, "column 'age' needs a number in row 11, got '2020-01-01 00:00:00'"),
        ({"member": ["perhaps"]}, "column 'member' needs a boolean in row 11, got 'perhaps'"),
        ({"member": [2]}, "column 'member' needs a boolean in row 11, got 2"),
        ({"since": ["soon"]}, "column 'since' needs a date in row 11, got 'soon'"),
        ({"since": [3]}, "column 'since' needs a date in row 11, got 3"),
    ],
)
def test_a_value_of_another_kind_is_named(changes: dict[str, list[Any]], message: str) -> None:
    frame = people(rows=1).assign(**changes)
    with pytest.raises(DataError) as caught:
        fitted().apply(frame, first_row=11)
    assert str(caught.value) == message


def test_missing_columns_and_columns_there_twice_are_named() -> None:
    with pytest.raises(DataError) as caught:
        fitted().apply(people().rename(columns={"city": "City"}))
    assert str(caught.value).startswith("column 'city' is missing; did you mean 'City'? The table has 'age', 'größe'")
    twice = pd.concat([people(), people()[["age"]]], axis=1)
    with pytest.raises(DataError, match="two columns are called 'age'"):
        fitted().apply(twice)


def test_without_imputing_a_missing_value_is_refused() -> None:
    complete = people().ffill().bfill()
    ours = fitted(Recipe(impute=None), complete)
    assert not any(name.endswith("missing") for name in ours.feature_names)
    for name in KINDS:
        gap = people(rows=2).ffill().bfill()
        gap.loc[1, name] = None
        with pytest.raises(DataError, match=f"column '{name}' has a missing value in row 2"):
            ours.apply(gap)


def test_it_needs_no_framework() -> None:
    code = (
        "import sys, lossbench.data.preprocessing; print({'hydra', 'lightning', 'mlflow', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_empty_text_is_a_gap_whoever_sends_it() -> None:
    frame = pd.DataFrame({"age": [1.0, None, 3.0], "city": ["a", None, "b"], "day": ["2020-01-01", None, "2020-01-03"],
                          "flag": [True, None, False]})  # fmt: skip
    kinds: dict[str, Kind] = {"age": "numeric", "city": "categorical", "day": "date", "flag": "boolean"}
    parsed = pd.DataFrame({name: parse(frame[name], name, kind) for name, kind in kinds.items()})
    fitted = fit(parsed, kinds, Recipe(min_frequency=1), {})
    sent = frame.astype(object).where(frame.notna(), " ")
    np.testing.assert_array_equal(fitted.apply(sent), fitted.apply(frame))
