"""A config's fingerprint stays what it was, or no sweep that was interrupted under an earlier version would go on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lossbench.config.compose import compose
from lossbench.config.identity import fingerprint, objective_fingerprint

# Written by commit 7eb0245, before the modules moved into rooms.
EARLIER = json.loads(Path(__file__).with_name("fingerprints.json").read_text())


@pytest.mark.parametrize("earlier", EARLIER, ids=lambda earlier: " ".join(earlier["overrides"]) or "defaults")
def test_a_config_has_the_fingerprint_that_it_always_had(
    earlier: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = compose(earlier["overrides"])
    assert fingerprint(config) == earlier["job"]
    assert objective_fingerprint(config) == earlier["objective"]
