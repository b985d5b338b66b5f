"""What the record says of the judged rows: which they are, and not in which order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from lossbench.data.table import Table
from lossbench.runs.description import rows_tags


def test_a_given_split_has_the_same_rows_for_every_seed(tmp_path: Path) -> None:
    rows = np.arange(60)
    parts = np.array(["train", "train", "val", "test"])[rows % 4]
    frame = pd.DataFrame({"x": rows % 7, "y": np.where(rows % 3, "a", "b"), "part": parts})
    frame.to_csv(tmp_path / "rows.csv", index=False)

    def digests(split_seed: int, **how: str) -> tuple[str, str]:
        drop = [] if how else ["part"]
        table = Table(path=str(tmp_path / "rows.csv"), target="y", drop=drop, split_seed=split_seed, **how)
        tags = rows_tags(table.prepare())
        return tags["lossbench.val_digest"], tags["lossbench.test_digest"]

    assert digests(0, split_column="part") == digests(1, split_column="part")
    assert digests(0) != digests(1)
    assert digests(0) == digests(0)
