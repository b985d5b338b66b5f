"""The commands that both checkouts run."""

from __future__ import annotations

import csv
import random
from dataclasses import dataclass
from pathlib import Path

TABLE = "table.csv"
SMALL = ("trainer.max_epochs=3", "tracking.predictions=50")
RINGS = (*SMALL, "data.positives=30", "data.negatives=150", "data.test_rows=200")


@dataclass(frozen=True)
class Part:
    """A command, and what is done with it.

    Parameters
    ----------
    sweep
        Whether it is a sweep, which one process or more may share.
    killed
        Whether it is killed in the middle and given again.
    """

    about: str
    arguments: tuple[str, ...]
    sweep: bool = True
    killed: bool = False


@dataclass(frozen=True)
class Case:
    """A part with so many processes; None where it is no sweep."""

    name: str
    processes: int | None

    @property
    def part(self) -> Part:
        return PARTS[self.name]

    @property
    def folder(self) -> str:
        return self.name if self.processes is None else f"{self.name}-{self.processes}"

    @property
    def arguments(self) -> list[str]:
        """The command line behind ``python -m lossbench``."""
        shared = [] if self.processes is None else ["-m", f"hydra.launcher.processes={self.processes}"]
        return [*shared, *self.part.arguments]


# The longest first, so that two at a time end at about the same time.
PARTS = {
    "losses": Part(
        "every YAML of conf/loss, two regularizers, two seeds, on rings",
        ("loss=glob(*)", "regularizer=none,l2", "seed=range(2)", *RINGS),
    ),
    "interrupted": Part(
        "24 jobs on rings in stacks of four, killed once the first have ended, and continued by the same command",
        (
            "loss=cross_entropy,focal,brier,pairwise_auc",
            "seed=range(6)",
            "hydra.launcher.replicates=4",
            *RINGS,
        ),
        killed=True,
    ),
    "tuning": Part(
        "three trials of two objectives on rings, then two seeds",
        (
            "tuning=optuna",
            "tuning.trials=3",
            "tuning.seeds=2",
            "tuning.confirm=1",
            "tuning.confirm_seeds=2",
            "loss=cross_entropy,focal",
            "seed=range(2)",
            *RINGS,
        ),
    ),
    "folds": Part(
        "three folds of iris, three classes; average_precision refuses it and is left out",
        (
            "data=iris",
            "data.fold=range(3)",
            "loss=cross_entropy,brier,focal,hinge,arcface,ldam,generalized_cross_entropy,tversky,"
            "supervised_contrastive,adaptive_log_softmax,average_precision",
            *SMALL,
        ),
    ),
    "table": Part(
        "a CSV of numbers, words, dates and gaps with a column of weights",
        (
            "data=table",
            f"data.path={TABLE}",
            "data.target=churned",
            "data.weight=weight",
            "data.batch_size=32",
            "loss=cross_entropy,focal,hinge",
            "weighting=none,balanced",
            "seed=range(2)",
            *SMALL,
        ),
    ),
    "ranks": Part(
        "one ordinary run that two processes share",
        ("trainer=ddp", "trainer.devices=2", "loss=focal", "seed=1", *RINGS),
        sweep=False,
    ),
}


def cases(names: list[str], processes: list[int]) -> list[Case]:
    """Return the parts of these names, each sweep once for every number of processes."""
    chosen = [name for name in PARTS if name in names]
    return [Case(name, number) for name in chosen for number in (processes if PARTS[name].sweep else [None])]


def write_table(path: Path) -> None:
    """Write the table of the part of that name, always the same."""
    chance = random.Random(0)
    rows = []
    for number in range(160):
        age, city = chance.gauss(40, 12), chance.choice(["Bern", "Linz", "Ulm"])
        churned = chance.random() < 1 / (1 + 2.7 ** ((age - 35) / 6))
        rows.append(
            {
                "age": "" if number % 11 == 0 else round(age, 1),
                "city": "" if number % 17 == 0 else city,
                "member": chance.choice(["yes", "no"]),
                "since": f"20{chance.randint(10, 24)}-0{chance.randint(1, 9)}-1{chance.randint(0, 9)}",
                "weight": round(chance.uniform(0.5, 2), 2),
                "churned": "yes" if churned else "no",
            }
        )
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
