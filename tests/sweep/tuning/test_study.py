"""Studies: the default first, a journal to continue from, and the same trials whether or not it was interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lossbench.sweep.tuning.domain import Domain
from lossbench.sweep.tuning.study import Sampling, Study, Trial

DOMAINS = [Domain("loss.gamma", 0.0, 5.0), Domain("optimizer.weight_decay", 1e-6, 1e-2, log=True, zero=True)]


def sampler(seed: int) -> Any:
    import optuna

    return optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True, n_startup_trials=4)


def study(path: Path, direction: Any = "maximize") -> Study:
    start = {"loss.gamma": 2.0, "optimizer.weight_decay": DOMAINS[1].drawn(0.0)}
    return Study(path, DOMAINS, start, Sampling("key", sampler), direction)


def score(trial: Trial) -> float:
    return -((trial.values["loss.gamma"] - 1.0) ** 2)


def go_on(one: Study, trials: int, batch: int = 3) -> None:
    while (missing := trials - one.count("finished")) > 0:
        for trial in one.next(min(batch, missing)):
            one.tell(trial, score(trial), run=f"run {trial.number}")


def test_the_default_is_the_first_trial_and_the_optimum_is_found(tmp_path: Path) -> None:
    one = study(tmp_path / "a.journal")
    go_on(one, 25)
    told = one.ended()
    assert told[0].values == {"loss.gamma": 2.0, "optimizer.weight_decay": 0.0}
    assert [trial.number for trial in told] == list(range(25))
    best = one.ranked()[0]
    assert abs(best.values["loss.gamma"] - 1.0) < 0.1
    assert best.run == f"run {best.number}"
    importances = one.importances()
    assert importances["loss.gamma"] > 0.9
    assert sum(importances.values()) == pytest.approx(1.0)


def break_off(one: Study, after: int, monkeypatch: pytest.MonkeyPatch, *, within: bool) -> None:
    """Draw the next wave until so many settings are drawn, or one of them in part."""
    ask, distributions = one._ask, one._distributions
    left = iter(range(after))

    def asked() -> Trial:
        if next(left, None) is not None:
            return ask()
        if within:
            monkeypatch.setattr(one, "_distributions", dict([next(iter(distributions.items()))]))
            ask()
        raise KeyboardInterrupt

    monkeypatch.setattr(one, "_ask", asked)
    with pytest.raises(KeyboardInterrupt):
        one.next(3)


@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize("drawn", [0, 1, 2])
@pytest.mark.parametrize("waves", [0, 2])
def test_a_study_that_is_broken_off_while_it_draws_ends_as_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waves: int, drawn: int, within: bool
) -> None:
    go_on(whole := study(tmp_path / "whole.journal"), 15)
    first = study(tmp_path / "broken.journal")
    go_on(first, 3 * waves)
    break_off(first, drawn, monkeypatch, within=within)
    again = study(tmp_path / "broken.journal")
    go_on(again, 15)
    assert [trial.values for trial in again.ended()] == [trial.values for trial in whole.ended()]


@pytest.mark.parametrize("told", [0, 1, 2])
def test_a_study_that_is_broken_off_before_all_of_a_wave_is_told_ends_as_another(tmp_path: Path, told: int) -> None:
    go_on(whole := study(tmp_path / "whole.journal"), 15)
    first = study(tmp_path / "broken.journal")
    go_on(first, 6)
    wave = first.next(3)
    for trial in wave[:told]:
        first.tell(trial, score(trial), run=f"run {trial.number}")
    again = study(tmp_path / "broken.journal")
    assert again.next(3) == wave[told:]  # not asked again but tried again
    go_on(again, 15)
    assert again.ended() == whole.ended()


def test_a_failed_trial_is_counted_and_never_the_best(tmp_path: Path) -> None:
    one = study(tmp_path / "a.journal")
    first, second = one.next(2)
    one.tell(first, None, run="a", error="Diverged: train/loss became nan")
    one.tell(second, -3.0, spread=0.5, run="b")
    assert (one.count("finished"), one.count("failed")) == (1, 1)
    failed, finished = one.ended()
    assert failed.error == "Diverged: train/loss became nan"
    assert finished.spread == 0.5
    best = one.ranked()[0]
    assert best.number == 1
    assert one.importances() == {}  # of one value


def test_scores_on_further_seeds_are_kept_for_their_protocol_and_budget(tmp_path: Path) -> None:
    one = study(tmp_path / "a.journal")
    go_on(one, 3)
    assert one.confirmed("5 of 20") is None
    one.confirm("5 of 20", {0: [0.5, 0.25], 2: []})
    again = study(tmp_path / "a.journal")
    assert again.confirmed("5 of 20") == {0: [0.5, 0.25], 2: []}
    assert again.confirmed("5 of 30") is None
    go_on(again, 4)
    assert again.confirmed("5 of 20") is None  # the best may be others now


@pytest.mark.parametrize(("direction", "number"), [("maximize", 1), ("minimize", 0)])
def test_of_equals_the_earliest_is_the_best(tmp_path: Path, direction: str, number: int) -> None:
    one = study(tmp_path / "a.journal", direction)
    for trial, value in zip(one.next(4), (0.25, 0.75, 0.75, 0.25), strict=True):
        one.tell(trial, value, run="")
    best = one.ranked()[0]
    assert best.number == number


def test_a_trial_that_was_interrupted_while_it_was_drawn_does_not_count(tmp_path: Path) -> None:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    path = tmp_path / "a.journal"
    study(path)
    storage = JournalStorage(JournalFileBackend(str(path)))
    optuna.load_study(study_name="lossbench", storage=storage).ask()  # of the default, nothing was drawn yet
    one = study(path)
    (trial,) = one.next(1)
    assert trial.values == {"loss.gamma": 2.0, "optimizer.weight_decay": 0.0}
    one.tell(trial, 1.0, run="")
    assert [told.state for told in one.ended()] == ["finished"]
