"""What `scripts/test --quick` runs: the cases that catch most, in under two minutes on two idle cores."""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).parents[1]
# Files and folders by the names of their tests; None stands for all of them.
QUICK: dict[str, tuple[str, ...] | None] = {
    "test_walls.py": None,
    "test_words.py": None,
    "test_house.py": None,
    "laws/test_laws.py": None,  # less laws and variants, see `chosen`
    "objective/test_loss_references.py": None,
    "objective/test_known_values.py": None,
    "objective/test_posterior.py": None,
    "objective/test_regularizers.py": None,
    "evaluation/test_metrics.py": None,
    "data/test_splits.py": None,
    "data/test_order.py": None,
    "training/test_selection.py": None,
    "training/test_plain_loop.py": (
        "test_one_step_of_gradient_descent_by_hand",
        "test_training_equals_a_plain_loop",
    ),
    "training/stacked/test_stacked_equals_ordinary.py": (
        "test_replicates_may_differ_in_every_number_and_in_their_loss",
    ),
    "comparison/test_verdicts.py": None,
    "comparison/test_pairs.py": None,
    "config/test_fingerprints.py": None,
    "config/test_expand.py": None,
    "system/test_command.py": (
        "test_a_run_shows_config_model_metrics_and_its_id",
        "test_a_sweep_records_three_levels_and_ends_in_a_leaderboard",
        "test_a_users_error_is_one_line_and_leaves_no_run",
    ),
}
