"""The files that a team copies, as far as they can be checked without a container."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).parents[3] / "deploy"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def test_the_server_is_the_mlflow_that_lossbench_is_tested_with(compose: dict[str, Any]) -> None:
    image = compose["services"]["mlflow"]["image"]
    pins = (DEPLOY.parent / "constraints.txt").read_text().splitlines()
    assert f"mlflow=={image.rpartition(':v')[2]}" in pins


def test_all_that_a_service_names_is_declared(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert set(service.get("secrets", ())) <= set(compose["secrets"])
        assert set(service.get("depends_on", ())) <= set(compose["services"])
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (DEPLOY / source).is_file() if source.startswith("./") else source in compose["volumes"]


def test_the_proxy_alone_is_open_to_the_world(compose: dict[str, Any]) -> None:
    assert [name for name, service in compose["services"].items() if "ports" in service] == ["proxy"]
