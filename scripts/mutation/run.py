"""Break every loss in small ways and see whether the laws notice. Nothing on disk is touched.

scripts/mutants                  all mutants: some minutes
scripts/mutants --sample 40      every n-th of them
scripts/mutants imbalance        those of one module
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import io
import itertools
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from lossbench.testing.cases import cases
from lossbench.testing.laws import laws

TESTS = Path(__file__).parents[2] / "tests"
SOURCE = TESTS.parent / "src"
LOSSES = "lossbench.objective.losses"
MODULES = (
    "likelihood", "divergence", "focus", "asymmetric", "imbalance", "margin", "robust", "overlap", "ranking",
    "embedding", "contrastive", "adaptive",
)  # fmt: skip
LINKS = {"TemperedSoftmax", "Sparsemax", "quotient"}
# modules that took names of another when they were imported, and take them again from the mutant
DEPENDENTS = {
    "lossbench.objective.links": ("divergence",), f"{LOSSES}.overlap": ("ranking",),
    f"{LOSSES}.embedding": ("contrastive",),
}  # fmt: skip
SECONDS = 90
WANTED = 0.95
OUTCOMES = ("law", "reference", "example", "SURVIVED", "same", "stillborn")


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


mutations = load(Path(__file__).parent / "mutations.py")
variants = load(TESTS / "laws" / "test_laws.py").LOSSES
references = load(TESTS / "objective" / "test_loss_references.py")
reasons = load(Path(__file__).parent / "reasons.py").REASONS
LAWS = laws("loss")
CASES = cases(SOURCE.parent / "conf" / "loss" / "*.yaml", variants)


def file_of(module: str) -> Path:
    return SOURCE.joinpath(*module.split(".")).with_suffix(".py")


def every_mutant(chosen: list[str]) -> Iterator[Any]:
    for name in MODULES:
        if not chosen or name in chosen:
            module = f"{LOSSES}.{name}"
            yield from mutations.mutants(module, file_of(module).read_text())
    if not chosen or "links" in chosen:
        module = "lossbench.objective.links"
        yield from mutations.mutants(module, file_of(module).read_text(), LINKS)


def put_in(mutant: Any) -> None:
    """Run the mutated source in the place of the module."""
    exec(compile(mutant.source, mutant.module, "exec"), importlib.import_module(mutant.module).__dict__)
    for name in DEPENDENTS.get(mutant.module, ()):
        module = f"{LOSSES}.{name}"
        exec(compile(file_of(module).read_text(), module, "exec"), importlib.import_module(module).__dict__)


def cases_of(mutant: Any) -> list[Any]:
    """Return the cases whose class stands in the mutated place, or in its module where it is a shared piece."""
    owner = mutant.place.split(".")[1]
    modules = {mutant.module, *(f"{LOSSES}.{name}" for name in DEPENDENTS.get(mutant.module, ()))}
    inside = [case for case in CASES if case.config["_target_"].rsplit(".", 1)[0] in modules]
    exact = [case for case in inside if case.config["_target_"] == f"{mutant.module}.{owner}"]
    return exact or inside


def fingerprint(cases: list[Any]) -> list[Any]:
    """Return values and slopes on ordinary and extreme batches, to see whether a mutant changes anything."""
    seen: list[Any] = []
    for case, size, seed in itertools.product(cases, (1.0, 30.0), (0, 1)):
        loss = case.bound()
        for parameter in loss.parameters():
            torch.nn.init.constant_(parameter, 0.3)
        for dtype in (torch.float64, torch.float32):
            scores = (size * case.scores(9, seed, dtype)).clamp(-loss.finite_scores, loss.finite_scores)
            scores = scores.requires_grad_()
            value = loss(case.predict(loss, scores), case.target(9))
            value.sum().backward()
            seen += [value.detach(), scores.grad, *(parameter.grad for parameter in loss.parameters())]
    return seen


def same(one: list[Any], two: list[Any]) -> bool:
    return all(
        (a is None) == (b is None)
        and (a is None or (a.shape == b.shape and torch.allclose(a, b, rtol=1e-14, atol=0, equal_nan=True)))
        for a, b in zip(one, two, strict=True)
    )


def broken(check: Callable[..., Any], **arguments: Any) -> bool:
    try:
        check(**arguments)
    except BaseException:
        return True
    return False


SLOW = ("proper", "posterior_recovers", "gradient", "posterior_rises", "every_weighting")


def law_breaks(cases: list[Any]) -> bool:
    ordered = sorted(LAWS, key=lambda law: law.__name__.startswith(SLOW))
    return any(broken(law, case=case) for law in ordered for case in cases)


def reference_breaks(cases: list[Any]) -> bool:
    names = {case.name for case in cases}
    return any(
        broken(references.test_value_and_gradient, name=name, changes=changes, reference=reference, task=task)
        for name in names & set(references.CASES)
        for changes, reference in references.CASES[name]
        for task in references.TASKS.values()
    )


def example_breaks() -> bool:
    """Run the tests of single losses, which import them anew."""
    places = ["losses", "test_known_values.py", "test_links.py"]
    # plain asserts and no warnings: pytest has been imported long before
    options = ["-x", "-q", "-p", "no:cacheprovider", "--assert=plain", "-Wignore", "--rootdir", str(TESTS.parent)]
    return pytest.main([*options, *(str(TESTS / "objective" / place) for place in places)]) != 0


def judge(mutant: Any) -> str:
    cases = cases_of(mutant)
    before = fingerprint(cases)
    try:
        put_in(mutant)
        after = fingerprint(cases)
    except (TypeError, AttributeError, NameError):
        return "stillborn"  # not a program; any call shows it
    except BaseException:
        return "law"
    unchanged = same(before, after)
    if unchanged and mutant.kind == "detached":
        return "same"
    if law_breaks(cases):
        return "law"
    if reference_breaks(cases):
        return "reference"
    if example_breaks():
        return "example"
    return "same" if unchanged else "SURVIVED"


def start(mutant: Any) -> tuple[int, int]:
    """Judge in a forked process, so that the next one meets a sound package; return its id and its answer's pipe."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(SECONDS)
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                outcome = judge(mutant)
            os.write(writer, outcome.encode())
        finally:
            os._exit(0)
    os.close(writer)
    return child, reader


def outcomes(every: list[Any], jobs: int) -> Iterator[tuple[Any, str]]:
    """Yield each mutant with what became of it, ``jobs`` at a time; one that takes too long has been noticed."""
    waiting = iter(every)
    running: dict[int, tuple[Any, int]] = {}
    while True:
        for mutant in itertools.islice(waiting, jobs - len(running)):
            child, reader = start(mutant)
            running[child] = (mutant, reader)
        if not running:
            return
        child, _ = os.wait()
        mutant, reader = running.pop(child)
        yield mutant, os.read(reader, 100).decode() or "law"
        os.close(reader)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", help=f"of {', '.join(MODULES)}, links")
    parser.add_argument("--sample", type=int, help="judge so many, evenly chosen")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes at a time; default: one a core"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    every = list(every_mutant(arguments.modules))
    if arguments.sample:
        every = every[:: max(1, len(every) // arguments.sample)][: arguments.sample]
    table: Counter[tuple[str, str]] = Counter()
    survivors = []
    for position, (mutant, outcome) in enumerate(outcomes(every, arguments.jobs)):
        table[mutant.kind, outcome] += 1
        if outcome == "SURVIVED":
            survivors.append(mutant)
        if sys.stderr.isatty():
            print(f"\r{position + 1}/{len(every)}", end="", file=sys.stderr)
    print(f"{'mistake':<10}" + "".join(f"{outcome:>11}" for outcome in OUTCOMES))
    for kind in sorted({kind for kind, _ in table}):
        print(f"{kind:<10}" + "".join(f"{table[kind, outcome]:>11}" for outcome in OUTCOMES))
    killed = sum(table[kind, outcome] for kind, outcome in table if outcome in OUTCOMES[:3])
    living = killed + len(survivors)
    print(f"\n{killed} of {living} noticed ({killed / max(living, 1):.1%}), by the first of laws, references, examples")
    print("same: nothing changes but the last bit; stillborn: no program; neither counts")
    for mutant in survivors:
        print(f"survived: {mutant.name}\n    {reasons.get(mutant.name, 'NO REASON GIVEN')}")
    return 0 if killed >= WANTED * living else 1


if __name__ == "__main__":
    sys.exit(main())
