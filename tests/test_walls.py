"""The walls of the house: which part may import what, read from the source and, for the command, from a process."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"
FILES = {
    ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(SRC.rglob("*.py"))
}


def _imports(tree: ast.AST, *, deferred: bool) -> Iterator[str]:
    """Yield the modules that a file imports; without `deferred`, only when it is itself imported."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module
            # `from package import module` imports the module; a name that is none imports the package.
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in FILES else node.module
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            yield from _imports(ast.Module(node.orelse, []), deferred=deferred)
        elif deferred or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _imports(node, deferred=deferred)


@cache
def imported(module: str, *, deferred: bool = True) -> frozenset[str]:
    return frozenset(_imports(ast.parse(FILES[module].read_text(encoding="utf-8")), deferred=deferred))


@cache
def reached(module: str) -> frozenset[str]:
    """Everything that importing a module of ours imports, through all others of ours, by their top-level names."""
    seen, waiting = set(), [module]
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        if current in FILES:
            packages = [current.rsplit(".", depth)[0] for depth in range(1, current.count(".") + 1)]
            waiting += [*imported(current, deferred=False), *packages]
    return frozenset(seen)


def roots(modules: frozenset[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


def ours(part: str) -> list[str]:
    """The modules of a package, or the one of that name."""
    return [module for module in FILES if module == part or module.startswith(f"{part}.")]


FREE_OF_FRAMEWORKS = (
    "task",
    "streams",
    "errors",
    "objective",
    "data",
    "models",
    "evaluation",
    "inference",
    "comparison",
)
LIGHTNING_FREE_TRAINING = ("selection", "job", "parameters", "optimizer", "forward", "batch_order")
HYDRA = (
    "cli",
    "components",
    "composition",
    "expansion",
    "experiment",
    "launching",
    "messages",
    "sweep",
    "verbs",
    "testing",
)

# Part by part, what of ours it may import: the arrows of the house point downwards.
BASE = {"task", "streams", "errors"}
DOMAIN = {*BASE, "objective", "data", "models"}
MAY = {
    "errors": set(),
    "streams": set(),
    "task": {"errors"},
    "objective": {"task", "errors"},
    "data": BASE,
    "models": BASE,
    "evaluation": DOMAIN,
    "comparison": {"errors", "evaluation"},
    "tracking": {"errors"},
    "training": {*DOMAIN, "evaluation"},
    "inference": {*DOMAIN, "evaluation", "training"},
}
# MLflow runs this file where an exported model is loaded, with the sources of `inference` beside it.
SERVED = "lossbench.tracking.served"


def test_there_is_something_to_look_at() -> None:
    assert len(FILES) > 60
    assert {f"lossbench.{part}" for part in MAY} <= {".".join(module.split(".")[:2]) for module in FILES}
    assert "lossbench.streams" in imported("lossbench.training.forward")
    assert "lightning" in imported("lossbench.training.learner")
    assert "torch" not in roots(imported("lossbench.cli"))
    assert "torch" in roots(reached("lossbench.experiment"))


@pytest.mark.parametrize("part", FREE_OF_FRAMEWORKS)
def test_the_domain_knows_no_framework(part: str) -> None:
    for module in ours(f"lossbench.{part}"):
        found = roots(imported(module)) & {"hydra", "omegaconf", "lightning", "mlflow"}
        assert not found, f"{module} imports {found}"


@pytest.mark.parametrize("name", LIGHTNING_FREE_TRAINING)
def test_what_the_batched_engine_shares_knows_no_lightning(name: str) -> None:
    found = roots(reached(f"lossbench.training.{name}")) & {"hydra", "lightning", "mlflow"}
    assert not found, f"{name} reaches {found}"


def test_objective_is_torch_alone() -> None:
    for module in ours("lossbench.objective"):
        foreign = roots(imported(module)) - set(sys.stdlib_module_names) - {"torch", "lossbench"}
        assert not foreign, f"{module} imports {foreign}"


def test_each_framework_has_its_place() -> None:
    for module in FILES:
        found, part = roots(imported(module)), module.removeprefix("lossbench.").partition(".")[0]
        if "mlflow" in found:
            assert part == "tracking", module
        if "lightning" in found:
            assert part == "training", module
        if "optuna" in found:
            assert part == "tuning", module
        if "hydra" in found:
            assert part in HYDRA or module.startswith("hydra_plugins."), module


@pytest.mark.parametrize("part", MAY)
def test_no_arrow_runs_back_up(part: str) -> None:
    for module in ours(f"lossbench.{part}"):
        used = {name.split(".")[1] for name in imported(module) if name.startswith("lossbench.")} - {part}
        used -= {"inference"} if module == SERVED else set()
        assert used <= MAY[part], f"{module} imports {sorted(used - MAY[part])}"


def test_nothing_below_the_sweep_knows_it() -> None:
    above = {"lossbench.cli", "lossbench.sweep", "lossbench.verbs", "hydra_plugins"}
    for part in ("experiment", "preparation", "recording", "composition", "naming", "components", *MAY):
        for module in ours(f"lossbench.{part}"):
            known = {name for name in imported(module) if any(name == up or name.startswith(f"{up}.") for up in above)}
            assert not known, f"{module} imports {known}"


@pytest.mark.parametrize("part", ["comparison", "tracking"])
def test_reading_and_comparing_needs_no_torch(part: str) -> None:
    for module in ours(f"lossbench.{part}"):
        found = roots(reached(module)) & {"torch", "lightning", "torchmetrics", "hydra"}
        assert not found, f"{module} reaches {found}"


def test_using_a_model_needs_no_training_stack() -> None:
    foreign = roots(reached("lossbench.inference.predictor")) - set(sys.stdlib_module_names) - {"lossbench"}
    assert foreign == {"torch", "numpy", "pandas", "scipy", "sklearn"}


def test_init_files_are_empty_and_the_plugins_have_none() -> None:
    files = sorted(SRC.rglob("__init__.py"))
    assert all(file.read_text() == "" for file in files)
    assert SRC / "hydra_plugins" / "__init__.py" not in files
    # Templates are files to be copied, of no package.
    apart = {"hydra_plugins", "templates"}
    packages = {path.parent for path in SRC.rglob("*.py") if not apart & set(path.parts)}
    assert {file.parent for file in files} == packages


def test_no_module_is_called_utils() -> None:
    assert not [module for module in FILES if "util" in module or "helper" in module]


HEAVY = ("torch", "lightning", "mlflow", "optuna", "torchmetrics", "pandas", "sklearn", "matplotlib", "scipy", "hydra")


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ("import lossbench.cli", set()),
        ("import lossbench.verbs.compare", {"pandas", "scipy", "mlflow", "hydra", "sklearn", "matplotlib"}),
        ("import lossbench.verbs.predict, lossbench.verbs.export", {"pandas", "scipy", "mlflow"}),
        # Hydra scans its plugins at every --help.
        ("import hydra_plugins.lossbench_sweeper, hydra_plugins.lossbench_searchpath", {"hydra"}),
    ],
)
def test_what_a_process_pays_for(statement: str, allowed: set[str]) -> None:
    code = f"{statement}\nimport sys\nprint(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= allowed
