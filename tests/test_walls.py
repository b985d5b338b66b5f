"""The walls of the house: which part may import what, read from the source and, for the command, from a process."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from lossbench.inference.sources import DISTRIBUTIONS

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


# Room by room, what of ours it may import: those of lower floors that its line names.
BASE = {"task", "randomness", "errors"}
DOMAIN = {*BASE, "objective", "data", "models"}
MAY = {
    "errors": set(),
    "randomness": set(),
    "processes": set(),
    "task": {"errors"},
    "config": {"errors"},
    "objective": {"task", "errors"},
    "data": BASE,
    "models": {*BASE, "objective"},
    "evaluation": DOMAIN,
    "comparison": {"errors", "evaluation"},
    "tracking": {"errors"},
    "training": {*DOMAIN, "evaluation"},
    "inference": {*DOMAIN, "evaluation"},
    "testing": {*DOMAIN, "evaluation", "training", "config"},
    "runs": {*DOMAIN, "evaluation", "training", "inference", "tracking", "comparison", "config", "processes"},
    "sweep": {*DOMAIN, "evaluation", "training", "tracking", "comparison", "config", "processes", "runs"},
    "cli": {*DOMAIN, "evaluation", "inference", "tracking", "comparison", "config", "processes", "runs", "sweep"},
    "experiment": {"config", "runs"},
    "__main__": {"cli"},
}
# What MLflow runs where an exported model is loaded, with the sources of `inference` beside it.
SERVED = "lossbench.tracking.served"
# The only part of `evaluation` that the statistics may know: plain data.
CATALOGUE = "lossbench.evaluation.catalogue"

FREE_OF_FRAMEWORKS = (*sorted(DOMAIN), "evaluation", "inference", "comparison", "processes")
PLACE = {"mlflow": "tracking", "lightning": "training.lightning", "optuna": "sweep.tuning"}
HYDRA = ("config", "cli", "sweep", "testing")
LIGHTNING_FREE = ("fit", "job", "optimizer", "selection", "lightning.shared_batch")


def test_there_is_something_to_look_at() -> None:
    assert len(FILES) > 60
    assert {f"lossbench.{part}" for part in MAY} <= {".".join(module.split(".")[:2]) for module in FILES}
    assert "lossbench.randomness" in imported("lossbench.models.forward")
    assert "lightning" in imported("lossbench.training.lightning.learner")
    assert "torch" not in roots(imported("lossbench.cli.main"))
    assert "torch" in roots(reached("lossbench.experiment"))


@pytest.mark.parametrize("part", FREE_OF_FRAMEWORKS)
def test_the_domain_knows_no_framework(part: str) -> None:
    for module in ours(f"lossbench.{part}"):
        found = roots(imported(module)) & {"hydra", "omegaconf", "lightning", "mlflow"}
        assert not found, f"{module} imports {found}"


@pytest.mark.parametrize("name", LIGHTNING_FREE)
def test_what_both_engines_share_knows_no_lightning(name: str) -> None:
    found = roots(reached(f"lossbench.training.{name}")) & {"hydra", "lightning", "mlflow"}
    assert not found, f"{name} reaches {found}"


def test_objective_is_torch_alone() -> None:
    for module in ours("lossbench.objective"):
        foreign = roots(imported(module)) - set(sys.stdlib_module_names) - {"torch", "lossbench"}
        assert not foreign, f"{module} imports {foreign}"


def test_each_framework_has_its_place() -> None:
    for module in FILES:
        found = roots(imported(module))
        for framework, place in PLACE.items():
            assert framework not in found or module.startswith(f"lossbench.{place}."), f"{module} imports {framework}"
        if "hydra" in found and not module.startswith("hydra_plugins."):
            assert module.split(".")[1] in HYDRA, f"{module} imports hydra"


def test_every_room_has_a_line() -> None:
    rooms = {module.split(".")[1] for module in FILES if module.startswith("lossbench.")}
    assert rooms == set(MAY)


def test_rooms_and_loose_files_are_few() -> None:
    loose = [module for module, path in FILES.items() if path.parent == SRC / "lossbench"]
    rooms = [path.parent for path in SRC.glob("lossbench/*/__init__.py")]
    assert len(loose) <= 8, loose
    assert len(rooms) <= 14, rooms


@pytest.mark.parametrize("part", MAY)
def test_no_arrow_runs_back_up(part: str) -> None:
    for module in ours(f"lossbench.{part}"):
        used = {name.split(".")[1] for name in imported(module) if name.startswith("lossbench.")} - {part}
        used -= {"inference"} if module == SERVED else set()
        assert used <= MAY[part], f"{module} imports {sorted(used - MAY[part])}"


def test_the_arrows_form_no_circle() -> None:
    left = dict(MAY)
    while left:
        lowest = [part for part, below in left.items() if not below & set(left)]
        assert lowest, f"a circle among {sorted(left)}"
        for part in lowest:
            del left[part]


def test_modules_form_no_circle() -> None:
    """Not even by imports within functions."""
    below = {module: {name for name in imported(module) if name in FILES and name != module} for module in FILES}
    while free := [module for module, names in below.items() if not names & set(below)]:
        for module in free:
            del below[module]
    assert not below, f"a circle among {sorted(below)}"


def test_no_arrow_hides_in_a_text() -> None:
    """A room names no module of a higher one in a string either, but the one that people are told to import."""
    for module, path in FILES.items():
        if not module.startswith("lossbench."):
            continue
        part = module.split(".")[1]
        for name in texts(ast.parse(path.read_text(encoding="utf-8"))):
            other = name.split(".")[1]
            assert other == part or other in MAY[part] or name in PUBLIC, f"{module} names {name}"


# What messages tell a person to import, or to name as a `_target_`.
PUBLIC = (
    "lossbench.experiment",
    "lossbench.objective.losses.external",
    "lossbench.models.external",
    "lossbench.evaluation.function_metric",
    "lossbench.data.source",
)


def texts(tree: ast.Module) -> Iterator[str]:
    """The dotted names of our modules in the strings of a file, less its docstrings."""
    nodes = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    documents = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, nodes) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
            for name in re.findall(r"\blossbench\.\w[\w.]*", node.value):
                while name not in FILES:
                    name = name.rpartition(".")[0]
                # Tags have the names of packages: `lossbench.sweep`.
                if FILES[name].name != "__init__.py":
                    yield name


# Which class of MLflow's a chain of attributes belongs to: the client of a store, and the halves of a run.
MLFLOW_CHAINS = re.compile(r"\.client\b|\.info\.\w|\.data\.(tags|params|metrics)\b")


def test_no_object_of_mlflow_leaves_tracking() -> None:
    """Others read rows and call functions: no store's client, no half of MLflow's run, not even as a type."""
    for module, path in FILES.items():
        if module.startswith("lossbench.tracking."):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                chain = ast.unparse(node)
                assert not MLFLOW_CHAINS.search(chain), f"{module}:{node.lineno} reads {chain}"
            elif isinstance(node, ast.ImportFrom):
                assert node.module != "lossbench.tracking.store.client", (
                    f"{module}:{node.lineno} knows MLflow's classes"
                )
            elif isinstance(node, ast.Import):
                assert not {alias.name.partition(".")[0] for alias in node.names} & {"mlflow"}, module


def test_statistics_know_the_catalogue_of_evaluation_alone() -> None:
    for module in ours("lossbench.comparison"):
        used = {name for name in imported(module) if name.startswith("lossbench.evaluation")}
        assert used <= {CATALOGUE}, f"{module} imports {used}"


@pytest.mark.parametrize("part", ["comparison", "tracking"])
def test_reading_and_comparing_needs_no_torch(part: str) -> None:
    for module in ours(f"lossbench.{part}"):
        found = roots(reached(module)) & {"torch", "lightning", "torchmetrics", "hydra"}
        assert not found, f"{module} reaches {found}"


def test_using_a_model_needs_no_training_stack() -> None:
    foreign = roots(reached("lossbench.inference.predictor")) - set(sys.stdlib_module_names) - {"lossbench"}
    assert foreign == {"torch", "numpy", "pandas", "scipy", "sklearn"}
    assert set(DISTRIBUTIONS) == foreign - {"sklearn"} | {"scikit-learn"}


def test_init_files_are_empty_and_the_plugins_have_none() -> None:
    files = sorted(SRC.rglob("__init__.py"))
    door = SRC / "lossbench" / "__init__.py"
    assert [file for file in files if file.read_text()] == [door]
    assert not imported("lossbench", deferred=False) - {"__future__", "typing"}
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
        ("import lossbench; lossbench.__version__, dir(lossbench)", set()),
        ("import lossbench.cli.main", set()),
        ("import lossbench.cli.compare", {"pandas", "scipy", "mlflow", "hydra", "sklearn", "matplotlib"}),
        ("import lossbench.cli.predict, lossbench.cli.export", {"pandas", "scipy", "mlflow"}),
        # Hydra scans its plugins at every --help.
        ("import hydra_plugins.lossbench_sweeper, hydra_plugins.lossbench_searchpath", {"hydra"}),
    ],
)
def test_what_a_process_pays_for(statement: str, allowed: set[str]) -> None:
    code = f"{statement}\nimport sys\nprint(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= allowed
