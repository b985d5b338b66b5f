"""Break every loss in small ways and see whether the laws notice. Nothing on disk is touched.

scripts/mutants                  all mutants
scripts/mutants --sample 40      every n-th of them
scripts/mutants imbalance        those of one module
scripts/mutants --page           all, and write docs/mutants.md

The laws are those of lossbench.testing, which every loss obeys by the facts that it states, and the tests under
tests/laws: what its docstring's example says, what it is a relative of, and what it becomes in a limit. Other tests
(references in NumPy, hand values) are asked only about what the laws have missed, and count for nothing.
"""

from __future__ import annotations

import argparse
import importlib
import io
import itertools
import os
import resource
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import torch
from _pytest.runner import runtestprotocol

sys.path.insert(0, str(Path(__file__).parent))
from mutations import Mutant, mutants
from page import OUTCOMES, WANTED, kept, page, table

PROJECT = Path(__file__).parents[2]
TESTS = PROJECT / "tests"
LOSSES = "lossbench.objective.losses"
# in the order in which they import each other
MODULES = {
    name.rsplit(".")[-1]: name
    for name in (
        "lossbench.objective.links", "lossbench.objective.targets", f"{LOSSES}.external", f"{LOSSES}.likelihood",
        f"{LOSSES}.distance", f"{LOSSES}.divergence", f"{LOSSES}.focus", f"{LOSSES}.asymmetric", f"{LOSSES}.imbalance",
        f"{LOSSES}.margin", f"{LOSSES}.robust", f"{LOSSES}.overlap", f"{LOSSES}.ranking", f"{LOSSES}.embedding",
        f"{LOSSES}.contrastive", f"{LOSSES}.adaptive",
    )
}  # fmt: skip
SHARED = {"links", "targets", "external", "overlap", "embedding"}  # which the losses of other modules use
LAWS = ("test_examples.py", "test_relatives.py", "test_limits.py", "test_laws.py::test_loss")
SLOW = ("gradient", "posterior", "near", "proper", "every")
CPU_SECONDS = 120


def source_of(module: str) -> str:
    return (PROJECT / "src").joinpath(*module.split(".")).with_suffix(".py").read_text()


def put_in(mutant: Mutant) -> None:
    """Run the mutated source in the place of the module, and those again that took names from it."""
    names = list(MODULES.values())
    for module in names[names.index(mutant.module) :]:
        source = mutant.source if module == mutant.module else source_of(module)
        exec(compile(source, module, "exec"), importlib.import_module(module).__dict__)


def fingerprint(case: Any) -> list[Any]:
    """Return values and slopes on ordinary, extreme and one-sided batches, to see whether a mutant changes anything."""
    seen: list[Any] = []
    classes = case.target(9)
    for size, (seed, target) in itertools.product((1.0, 30.0), enumerate((classes, classes.clamp(max=1), classes * 0))):
        loss = case.bound()
        for parameter in loss.parameters():
            torch.nn.init.constant_(parameter, 0.3)
        for dtype in (torch.float64, torch.float32):
            scores = (size * case.scores(9, seed, dtype)).clamp(-loss.finite_scores, loss.finite_scores)
            scores = scores.requires_grad_()
            value = loss(case.predict(loss, scores), target)
            value.sum().backward()
            seen += [value.detach(), scores.grad, *(parameter.grad for parameter in loss.parameters())]
            seen.append(loss.link.probs(scores).detach())
    head = case.build().head(case.task, 8)
    if head is not None:
        for parameter in head.parameters():
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
        seen.append(head(torch.linspace(-1, 1, 40).reshape(5, 8)).detach())
    return seen


def same(one: list[Any], two: list[Any]) -> bool:
    return len(one) == len(two) and all(
        (a is None) == (b is None)
        and (a is None or (a.shape == b.shape and torch.allclose(a, b, rtol=1e-14, atol=0, equal_nan=True)))
        for a, b in zip(one, two, strict=True)
    )


def law_of(item: pytest.Item) -> tuple[str, Any]:
    """Return the name of a law of lossbench.testing, and its case; of another test an empty name, and None."""
    law = item.callspec.params.get("law") if hasattr(item, "callspec") else None
    return ("", None) if law is None else (law.args[0].__name__, law.args[1])


def loss_of(item: pytest.Item) -> str | None:
    """Return the name of the YAML that a collected law is about; None for a law about one loss without a parameter."""
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    if "law" in parameters:
        return law_of(item)[1].name
    if "relative" in parameters:
        return parameters["relative"].loss
    return parameters.get("loss")


class Check:
    """A pytest plugin that, in place of running the collected laws once, runs them on every mutant."""

    def __init__(self, chosen: list[str], sample: int | None, jobs: int) -> None:
        self.every = [
            mutant
            for name, module in MODULES.items()
            if not chosen or name in chosen
            for mutant in mutants(module, source_of(module))
        ]
        if sample:
            self.every = self.every[:: max(1, len(self.every) // sample)][:sample]
        self.jobs = jobs
        self.found: list[tuple[Mutant, str]] = []
        self.laws: list[tuple[str | None, pytest.Item]] = []
        self.cases: dict[str, list[tuple[Any, list[Any]]]] = {}

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        ordered = sorted(session.items, key=lambda item: law_of(item)[0].startswith(SLOW))
        self.laws = [(loss_of(item), item) for item in ordered]
        for item in session.items:
            law, case = law_of(item)
            if law == "shape_and_dtype":
                self.cases.setdefault(case.name, []).append((case, fingerprint(case)))
        for number, result in enumerate(self.outcomes()):
            self.found.append(result)
            if sys.stderr.isatty():
                print(f"\r{number + 1}/{len(self.every)}", end="", file=sys.stderr)
        return True

    def judge(self, mutant: Mutant) -> str:
        owner, module = mutant.place.split(".")[1], mutant.module
        inside = {
            name: members
            for name, members in self.cases.items()
            if mutant.place.split(".")[0] in SHARED or members[0][0].config["_target_"].startswith(f"{module}.")
        }
        exact = {name: m for name, m in inside.items() if m[0][0].config["_target_"] == f"{module}.{owner}"}
        inside = exact or inside
        try:
            put_in(mutant)
            changed = {n for n, members in inside.items() if not all(same(was, fingerprint(c)) for c, was in members)}
        except (TypeError, AttributeError, NameError):
            return "stillborn"  # not a program; any call shows it
        except BaseException:
            return "laws"
        if not changed and mutant.kind == "detached":
            return "same"
        wanted = changed or set(inside)
        for name, item in self.laws:
            if (name is None or name in wanted) and any(
                report.failed for report in runtestprotocol(item, log=False, nextitem=None)
            ):
                return "laws"
        if not changed:
            return "same"
        return "other tests" if others_break() else "SURVIVED"

    def start(self, mutant: Mutant) -> tuple[int, int]:
        """Judge in a forked process, so that the next one meets a sound package; return its id and answer's pipe."""
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
                with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                    outcome = self.judge(mutant)
                os.write(writer, outcome.encode())
            finally:
                os._exit(0)
        os.close(writer)
        return child, reader

    def outcomes(self) -> Iterator[tuple[Mutant, str]]:
        """Yield each mutant with what became of it; one that never ends has been noticed."""
        waiting = iter(self.every)
        running: dict[int, tuple[Mutant, int]] = {}
        while True:
            for mutant in itertools.islice(waiting, self.jobs - len(running)):
                child, reader = self.start(mutant)
                running[child] = (mutant, reader)
            if not running:
                return
            child, _ = os.wait()
            mutant, reader = running.pop(child)
            yield mutant, os.read(reader, 100).decode() or "endless"
            os.close(reader)


OPTIONS = ["-q", "-p", "no:cacheprovider", "-p", "no:randomly", "-Wignore", "--rootdir", str(PROJECT)]


def others_break() -> bool:
    """Run the tests of losses that are no laws; they import the mutant anew."""
    places = ["losses", "test_known_values.py", "test_links.py", "test_loss_references.py", "test_external.py"]
    # plain asserts: pytest has been imported long before
    return pytest.main([*OPTIONS, "-x", "--assert=plain", *(str(TESTS / "objective" / place) for place in places)]) != 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", help=f"of {', '.join(MODULES)}")
    parser.add_argument("--sample", type=int, help="judge so many, evenly chosen")
    parser.add_argument("--page", action="store_true", help="write docs/mutants.md")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes at a time; default: one a core"
    )
    arguments = parser.parse_args()
    if set(arguments.modules) - set(MODULES):
        parser.error(f"modules are {', '.join(MODULES)}, got {' '.join(arguments.modules)}")
    torch.set_num_threads(1)
    check = Check(arguments.modules, arguments.sample, arguments.jobs)
    laws = [str(TESTS / "laws" / name) for name in LAWS]
    with redirect_stdout(io.StringIO()) as said:
        status = pytest.main([*OPTIONS, "-s", *laws], plugins=[check])
    if not check.found:
        print(said.getvalue())
        return int(status) or 1
    outcomes = Counter((mutant.kind, outcome) for mutant, outcome in check.found)
    by_laws, living = kept(outcomes)
    missed = [(mutant, outcome) for mutant, outcome in check.found if outcome in OUTCOMES[2:4]]
    print(table(outcomes, missed))
    if arguments.page:
        modules = Counter((mutant.place.split(".")[0], outcome) for mutant, outcome in check.found)
        (PROJECT / "docs" / "mutants.md").write_text(page(outcomes, modules, missed))
    return 0 if by_laws >= WANTED * living else 1


if __name__ == "__main__":
    sys.exit(main())
