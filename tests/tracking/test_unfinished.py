"""What of an unfinished sweep counts."""

from __future__ import annotations

import pytest

from lossbench.tracking import search
from lossbench.tracking.run import RunRecord
from lossbench.tracking.schema import Role, Tag, tagged
from lossbench.tracking.search import search_runs
from lossbench.tracking.store.open import Store
from lossbench.tracking.unfinished import supersede_doubles


@pytest.mark.usefixtures("by_public_api")  # whose pages are cut by offset
def test_every_double_goes_though_many_are_deleted_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is deleted while pages are read moves the next page: runs of it would be passed over."""
    monkeypatch.setattr(search, "_PAGE", 2)

    def start(name: str, role: str, identity: str | None = None) -> RunRecord:
        return RunRecord.start(store, name, role=role, sweep="s", tags={Tag.IDENTITY: identity})

    objectives = [start(f"objective {number}", Role.OBJECTIVE).id for number in range(6)]
    references = [start("bayes", Role.REFERENCE) for _ in range(3)]
    jobs = [start("job", Role.RUN, identity="a") for _ in range(3)]
    for run in (references[1], jobs[1]):
        run.finish({})
    supersede_doubles(store, "s", objectives[:1])
    left = list(search_runs(store, tagged(Tag.SWEEP, "s")))
    assert {run.id for run in left if run.role == Role.OBJECTIVE} == {objectives[0]}
    assert [run.id for run in left if run.role == Role.REFERENCE] == [references[1].id]
    assert [run.id for run in left if run.role == Role.RUN and not run.superseded] == [jobs[1].id]
    assert {run.status for run in left if run.superseded} == {"KILLED"}
