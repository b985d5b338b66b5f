"""What an exported model brings along, and what it asks pip for."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from lossbench.inference.sources import DISTRIBUTIONS, PACKAGE, copy_sources, requirements


def names(lines: list[str]) -> list[str]:
    return [line.partition("==")[0] for line in lines]


def test_parts_of_ours_and_of_torch_need_the_packages_of_the_predictor() -> None:
    model = {"_target_": "lossbench.models.external.External", "module": {"_target_": "torch.nn.Linear"}}
    assert names(requirements({"_target_": "lossbench.objective.losses.focus.Focal"}, model)) == list(DISTRIBUTIONS)


def test_a_part_of_another_package_needs_that_package() -> None:
    part = {"layers": [{"_target_": "sklearn.base.clone"}, {"_target_": "yaml.safe_load"}, {"_target_": "mine.Loss"}]}
    assert names(requirements(part)) == [*DISTRIBUTIONS, "PyYAML"]
    assert requirements(part)[-1] == f"PyYAML=={version('PyYAML')}"
    assert names(requirements(part, brought=["yaml"])) == list(DISTRIBUTIONS)


def test_the_package_is_copied_and_a_persons_own_files_beside_it(tmp_path: Path) -> None:
    own = tmp_path / "own"
    (own / "mine" / "__pycache__").mkdir(parents=True)
    for name in ("mine/__init__.py", "mine/__pycache__/x.pyc", "alone.py"):
        (own / name).touch()
    copy_sources(tmp_path / "code", [own / "mine", own / "alone.py"])
    copied = {str(path.relative_to(tmp_path / "code")) for path in (tmp_path / "code").rglob("*.py")}
    assert copied == {f"lossbench/{path.relative_to(PACKAGE)}" for path in PACKAGE.rglob("*.py")} | {
        "mine/__init__.py",
        "alone.py",
    }
    assert not list((tmp_path / "code").rglob("*.pyc"))
