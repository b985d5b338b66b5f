"""Names: MLflow's own validator is the judge."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name, _validate_param_name

from lossbench.tracking.store.keys import KEY_LIMIT, Keys, clean, cut, tags_of

NAMES = st.text(max_size=300) | st.text("./ _a@(", max_size=12)


@settings(derandomize=True, deadline=None)
@given(NAMES)
def test_a_cleaned_name_is_one_that_mlflow_takes(name: str) -> None:
    key = clean(name)
    _validate_metric_name(key)
    _validate_param_name(key)
    assert len(key) <= KEY_LIMIT
    assert clean(key) == key


@settings(derandomize=True, deadline=None)
@given(st.lists(NAMES, unique=True))
def test_different_names_stay_apart(names: list[str]) -> None:
    keys = Keys()
    assert len({keys[name] for name in names}) == len(names)


def test_ordinary_names_are_left_alone() -> None:
    for name in ("test/posterior/log_loss", "val/recall/iris setosa", "optimizer.lr", "test/recall/Größe: XL"):
        assert clean(name) == name


def test_long_names_differ_by_their_ends() -> None:
    assert clean("a" * 300 + "b") != clean("a" * 300 + "c")


def test_a_cut_value_says_so_and_fits() -> None:
    text = cut("x" * 7000, 6000)
    assert len(text) == 6000
    assert text.endswith(" ... (cut, 7000 characters)")
    assert cut("x" * 6000, 6000) == "x" * 6000


def test_tags_leave_out_none() -> None:
    assert tags_of({"a": None, "b": 0, "c": ""}) == {"b": "0", "c": ""}
