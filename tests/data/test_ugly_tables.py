"""Tables as people have them: each trains and takes its raw columns again, or is refused in one line."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lossbench.config.compose import compose
from lossbench.data.preprocessing import Preprocessing
from lossbench.data.tables.reading import read
from lossbench.errors import DataError
from lossbench.evaluation.metrics import compute
from lossbench.models.forward import scores_of
from lossbench.runs.execute import fit
from lossbench.runs.prepare import draw, prepare_job

ROWS = 240
RANDOM = np.random.default_rng(0)
START = RANDOM.bit_generator.state
TARGET = RANDOM.integers(0, 2, ROWS)
SIGNAL = TARGET + RANDOM.normal(0, 0.7, ROWS)
WORDS = np.where(TARGET == 1, "yes", "no")


def csv(frame: pd.DataFrame, **arguments: Any) -> bytes:
    return frame.to_csv(index=False, **arguments).encode("utf-8")


def with_gaps(values: Any, share: float) -> pd.Series:
    return pd.Series(values, dtype=object).where(RANDOM.random(ROWS) >= share, None)


def mixed() -> bytes:
    frame = pd.DataFrame({"age": SIGNAL.round(3), "member": RANDOM.integers(0, 3, ROWS) == TARGET,
                          "plan": RANDOM.choice(["basic", "pro"], ROWS), "y": WORDS})  # fmt: skip
    return csv(frame)


def gaps() -> bytes:
    frame = pd.DataFrame({"age": with_gaps(SIGNAL.round(3), 0.4), "member": with_gaps(SIGNAL > 0.5, 0.3),
                          "plan": with_gaps(RANDOM.choice(["a", "b"], ROWS), 0.5),
                          "always missing": None, "y": WORDS})  # fmt: skip
    return csv(frame, na_rep="?")


def rare() -> bytes:
    city = np.array(["Bern", "Rome"])[TARGET]
    city[:9] = [f"village {number}" for number in range(9)]
    return csv(pd.DataFrame({"city": city, "y": WORDS}))


def unicode_headers() -> bytes:
    frame = pd.DataFrame({"größe (cm)": SIGNAL, "年齢": RANDOM.normal(size=ROWS), " naïve, quoted ": SIGNAL, "😀": "a",
                          "y": WORDS})  # fmt: skip
    return b"\xef\xbb\xbf" + csv(frame)


def constant() -> bytes:
    return csv(pd.DataFrame({"x": SIGNAL, "same": 3.25, "word": "a", "flag": True, "y": WORDS}))


def identifiers() -> bytes:
    return csv(pd.DataFrame({"id": [f"K{row:06d}" for row in range(ROWS)], "x": SIGNAL, "y": WORDS}))


def dates() -> bytes:
    days = pd.Timestamp("2019-12-25") + pd.to_timedelta(30 * TARGET + RANDOM.integers(0, 40, ROWS), unit="D")
    stamp = pd.Series(days).dt.strftime("%Y-%m-%dT%H:%M:%S+02:00")
    return csv(
        pd.DataFrame({"signed": with_gaps(pd.Series(days).dt.strftime("%d.%m.%Y"), 0.1), "at": stamp, "y": WORDS})
    )


def german() -> bytes:
    frame = pd.DataFrame({"preis": SIGNAL.round(2), "note": ['zwei\nZeilen; "ja"'] * ROWS, "y": WORDS})
    frame.insert(1, "menge", RANDOM.integers(0, 9, ROWS))
    return csv(frame, sep=";", decimal=",", lineterminator="\r\n")


def packed() -> bytes:
    return gzip.compress(csv(pd.DataFrame({"x": SIGNAL, "y": WORDS}), sep="\t"))


def float_target() -> bytes:
    return csv(pd.DataFrame({"x": SIGNAL, "y": TARGET + 1.0}))


def boolean_target() -> bytes:
    return csv(pd.DataFrame({"x": SIGNAL, "y": TARGET == 1}))


def text_of_three_classes() -> bytes:
    level = np.digitize(SIGNAL, [0.0, 1.0])
    return csv(pd.DataFrame({"x": SIGNAL, "y": np.array(["low", "mid", "HIGH é"])[level]}))


def huge_numbers() -> bytes:
    return csv(
        pd.DataFrame(
            {"x": SIGNAL * 1e30, "tiny": SIGNAL * 1e-30, "big id": 2**63 + np.arange(ROWS, dtype=float), "y": WORDS}
        )
    )


def words_in_capitals() -> bytes:
    frame = pd.DataFrame(
        {"flag": np.where(TARGET == 1, "TRUE", "FALSE"), "mixed": [1, "a", 2.5, "b"] * (ROWS // 4), "y": WORDS}
    )
    return csv(frame)


@dataclass(frozen=True)
class Trains:
    """A table that trains, and the kinds of its columns."""

    made: Callable[[], bytes]
    kinds: dict[str, str]
    name: str = "t.csv"
    options: tuple[str, ...] = field(default=())
    classes: tuple[str, ...] = ("no", "yes")


N, B, C, D = "numeric", "boolean", "categorical", "date"
TRAIN = {
    "mixed types": Trains(mixed, {"age": N, "member": B, "plan": C}),
    "missing values": Trains(gaps, {"age": N, "member": B, "plan": C, "always missing": N}),
    "rare categories": Trains(rare, {"city": C}),
    "unicode headers": Trains(unicode_headers, {"größe (cm)": N, "年齢": N, "naïve, quoted": N, "😀": C}),
    "constant columns": Trains(constant, {"x": N, "same": N, "word": C, "flag": B}),
    "huge cardinality": Trains(identifiers, {"id": C, "x": N}),
    "dates": Trains(dates, {"signed": D, "at": D}),
    "semicolons and decimal commas": Trains(german, {"preis": N, "menge": N, "note": C}),
    "packed tabs": Trains(packed, {"x": N}, "t.tsv.gz"),
    "float target": Trains(float_target, {"x": N}, classes=("1", "2")),
    "boolean target": Trains(boolean_target, {"x": N}, classes=("False", "True")),
    "three classes": Trains(text_of_three_classes, {"x": N}, options=("data.classes=[low,mid,'HIGH é']",),
                            classes=("low", "mid", "HIGH é")),
    "huge numbers": Trains(huge_numbers, {"x": N, "tiny": N, "big id": N}),
    "words in capitals": Trains(words_in_capitals, {"flag": B, "mixed": C}),
}  # fmt: skip


@pytest.mark.parametrize("name", TRAIN)
def test_an_ugly_table_trains_and_takes_its_raw_columns_again(name: str, tmp_path: Path) -> None:
    table = TRAIN[name]
    path = tmp_path / table.name
    RANDOM.bit_generator.state = START  # whatever was made before
    path.write_bytes(table.made())
    config = compose(
        ["data=table", f"data.path={path}", "data.target=y", "model=linear", "trainer.max_epochs=8",
         "optimizer.lr=0.05", "data.batch_size=32", *table.options]
    )  # fmt: skip
    dataset = draw(config)
    assert dataset.preprocessing.schema == table.kinds
    assert dataset.task.class_names == table.classes
    job = prepare_job(config, dataset)
    assert fit(job, config, "none").epochs == 8
    # the columns as a person holds them, through what a model file keeps
    raw = read(path).sample(frac=1, random_state=0)
    again = Preprocessing.from_state(dataset.preprocessing.state).apply(raw.drop(columns="y"))
    where = np.argsort(raw.index)
    np.testing.assert_allclose(again[where][dataset.test.index], dataset.test.x, rtol=0, atol=1e-12)
    scores = scores_of(job.network, again[where][dataset.test.index])
    np.testing.assert_allclose(scores, scores_of(job.network, dataset.test.x), rtol=0, atol=1e-6)
    if len(table.classes) == 2:
        positive = 1 / (1 + np.exp(-scores))
        auroc = compute(dataset.test.y, np.hstack([1 - positive, positive])[None], ("auroc",))["auroc"][0]
        learnable = name not in ("words in capitals", "missing values")
        assert auroc > (0.6 if learnable else 0.5), "it learns nothing from a table that says it"


def changed(**columns: Any) -> bytes:
    return csv(pd.DataFrame({"x": SIGNAL, "y": WORDS}).assign(**columns))


def at(row: int, value: str, values: Any) -> pd.Series:
    """Values with another one in a row, counted from 1."""
    column = pd.Series(values, dtype=object)
    column.iloc[row - 1] = value
    return column


REFUSED = {
    "one-row class": (
        changed(y=at(17, "maybe", WORDS)),
        "a stratified test split needs two rows of every class, class 'maybe' has 1",
    ),
    "duplicate headers": (b"x,y,x\n1,no,2\n" * 9, "t.csv: columns 1 and 3 are both called 'x'"),
    "a word among numbers": (
        changed(x=at(17, "unknown", SIGNAL)),
        "column 'x' holds numbers, and 'unknown' in row 17; say data.missing=[unknown]",
    ),
    "an infinite value": (changed(x=at(17, "inf", SIGNAL)), "column 'x' has an infinite value in row 17"),
    "a missing label": (changed(y=at(17, "", WORDS)), "target 'y' has a missing value in row 17"),
    "a regression target": (changed(y=SIGNAL), "target 'y' looks like a regression target (float, 240 distinct"),
    "one class": (changed(y="no"), "target 'y' needs two classes or more, every row has 'no'"),
    "dates that could be either": (
        changed(when=["01/02/2020", "02/03/2020"] * (ROWS // 2)),
        "column 'when' holds dates like '01/02/2020', in which day and month could be either: say data.date_format=",
    ),
    "thousands": (
        csv(pd.DataFrame({"x": ["1,234", "12,500"] * (ROWS // 2), "y": WORDS})),
        "column 'x' holds '1,234' in row 1: a number with a comma or with marks between thousands",
    ),
    "a long row": (b"x,y\n1,no\n2,yes,3\n", "t.csv cannot be read as csv: Error tokenizing data. C error: Expected 2"),
    "another encoding": ("größe,y\n1,no\n".encode("latin-1"), "t.csv is not utf-8: byte 0xf6 in line 1; name"),
    "a picture": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "t.csv is no text file: its beginning holds zero bytes"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_an_ugly_table_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    content, message = REFUSED[name]
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        draw(compose(["data=table", f"data.path={path}", "data.target=y"]))
    said = str(caught.value).replace(f"{tmp_path}/", "")
    assert said.startswith(message)
    assert "\n" not in said
