"""What `scripts/test --quick` runs: the tests that catch most for their time, in under two minutes on two idle cores.

How they were chosen stands in the header of scripts/test. A path without names stands for all tests of its file.
"""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
QUICK: dict[str, tuple[str, ...]] = {
    "laws/test_laws.py": (),  # at the YAMLs' own settings, by the laws below
    "objective/test_loss_references.py": (),
    "objective/test_known_values.py": (),
    "objective/test_regularizers.py": (),
    "test_walls.py": (),
    "test_words.py": (),
    "test_house.py": (),
    "test_quick.py": (),
    "config/test_fingerprints.py": (),
    "data/test_order.py": (),
    "data/test_splits.py": (),
    "evaluation/test_metrics.py": (),
    "comparison/test_pairs.py": (),
    "comparison/test_verdicts.py": (),
    "training/test_selection.py": (),
    "training/test_plain_loop.py": ("test_one_step_of_gradient_descent_by_hand",),
    "training/stacked/test_stacked_equals_ordinary.py": (
        "test_replicates_may_differ_in_every_number_and_in_their_loss",
    ),
    "system/test_command.py": ("test_a_sweep_records_three_levels_and_ends_in_a_leaderboard",),
}
LAWS = ("shape_and_dtype", "rows_do_not_mix", "gradient", "finite_in_float32", "renaming_classes")


def names_in(path: Path) -> tuple[str, ...] | None:
    """Return the tests of a file that are quick ones, () for all of them; None for a file without any."""
    return QUICK.get(path.relative_to(TESTS).as_posix()) if path.is_relative_to(TESTS) else None


def is_quick(item: pytest.Item) -> bool:
    """Return whether a collected test belongs to the quick ones."""
    names = names_in(item.path)
    if names is None:
        return False
    parameters = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    if "law" in parameters:
        law, case = parameters["law"].args
        return not case.changes and (case.kind != "loss" or law.__name__ in LAWS)
    return not names or getattr(item, "originalname", item.name) in names
