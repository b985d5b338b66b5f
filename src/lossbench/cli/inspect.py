"""``lossbench inspect``: what a run would make of a table, and the YAML that makes it a choice of its own."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as Shown
from rich.text import Text

from lossbench.config.build import blame
from lossbench.data.table import Table
from lossbench.data.tables.inspection import LEAK, Inspection, inspect
from lossbench.errors import UserError


def main(arguments: Sequence[str]) -> int:
    """Print what lossbench understands of a table, and the YAML for it."""
    parser = argparse.ArgumentParser(
        prog="lossbench inspect",
        description="Show what lossbench understands of a table, and the YAML that makes it data=<name>.",
        epilog="options are the keys of conf/data/table.yaml: lossbench inspect people.csv churned drop=[id] time=day",
    )
    parser.add_argument("path", help="CSV, Parquet or Feather")
    parser.add_argument("target", help="the column to predict")
    parser.add_argument("options", nargs="*", metavar="key=value", help="such as drop=[id], categorical=[zip]")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the YAML, as to conf/data/mine.yaml")
    parsed = parser.parse_args(arguments)
    options = dict(_option(text) for text in parsed.options)
    with blame("inspect"):
        source = Table(path=parsed.path, target=parsed.target, **options)
        inspection = inspect(source)
    if parsed.save is not None and parsed.save.exists():
        raise UserError(f"{parsed.save} exists already: remove it or name another file")
    console = Console()
    show(console, source, inspection)
    text = as_yaml(source, inspection, options)
    if parsed.save is None:
        console.print("\nconf/data/mine.yaml, for data=mine:", style="bold")
        console.print(text, markup=False, highlight=False, soft_wrap=True, end="")
        return 0
    try:
        parsed.save.parent.mkdir(parents=True, exist_ok=True)
        parsed.save.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{parsed.save} cannot be written: {error.strerror or error}") from error
    console.print(f"saved {parsed.save}; train with: lossbench data={parsed.save.stem}", markup=False, soft_wrap=True)
    return 0


def _option(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    key = key.removeprefix("data.")
    names = [item.name for item in dataclasses.fields(Table) if item.name not in ("path", "target")]
    if not equals or key not in names:
        raise UserError(f"an option is key=value with one of {', '.join(names)}, got {text!r}")
    if not value.startswith("["):
        return key, _scalar(value)
    try:
        return key, yaml.load(value, yaml.BaseLoader)
    except yaml.YAMLError:
        raise UserError(f"the value of {key} cannot be read: {value!r}") from None


def _scalar(value: str) -> Any:
    """Read a value as Hydra does: yes and no are words; so is what YAML has marks for, such as >50K and |."""
    try:
        read = yaml.safe_load(value)
    except yaml.YAMLError:
        return value
    boolean = isinstance(read, bool) and value.lower() in ("true", "false")
    return read if boolean or (type(read) in (int, float, str) and read != "") or value in ("null", "~") else value


def show(console: Console, source: Table, inspection: Inspection) -> None:
    """Print rows, classes, columns and what is remarkable."""
    written = ""
    if inspection.layout is not None:
        names = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
        delimiter = names.get(inspection.layout.delimiter, repr(inspection.layout.delimiter))
        comma = ", decimal comma" if inspection.layout.decimal == "," else ""
        written = f" ({inspection.layout.encoding}, {delimiter}{comma})"
    console.print(f"{source.path}{written}: {inspection.rows:,} rows, {len(inspection.columns)} feature columns, "
                  f"{inspection.bytes_ / 1e6:,.1f} MB", markup=False, highlight=False)  # fmt: skip
    classes = [f"{name} {count:,} ({count / inspection.rows:.1%})" for name, count in inspection.classes.items()]
    counts = ", ".join(classes[:12])
    more = f" and {len(classes) - 12} more" if len(classes) > 12 else ""
    positive = f"; positive: {list(inspection.classes)[1]}" if len(inspection.classes) == 2 else ""
    console.print(f"target {source.target}: {len(inspection.classes)} classes: {counts}{more}{positive}", markup=False,
                  highlight=False)  # fmt: skip
    if inspection.imbalance >= 1.5:
        console.print(f"imbalance: the largest class has {inspection.imbalance:.3g} times the rows of the smallest",
                      highlight=False)  # fmt: skip
    if inspection.splits is not None:
        sizes = ", ".join(f"{name} {size:,}" for name, size in inspection.splits.items())
        console.print(f"splits: {sizes}", highlight=False)
    shown = Shown(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    shown.add_column("column", overflow="fold", min_width=8)
    shown.add_column("kind", no_wrap=True)
    for title in ("missing", "distinct", "features", "alone"):
        shown.add_column(title, justify="right", no_wrap=True)
    shown.add_column("values", overflow="fold")
    for column in inspection.columns:
        score = "–" if column.alone != column.alone else f"{column.alone:.3f}"
        missing = f"{column.missing:.1%}" if column.missing else ""
        values = f"{column.values}\n{column.note}" if column.note else column.values
        cells = (column.name, column.kind, missing, f"{column.distinct:,}", str(column.features), score, values)
        shown.add_row(*(Text(cell) for cell in cells), style="yellow" if column.note else None)
    console.print(shown)
    console.print("features: columns that it becomes; alone: AUROC of this column by itself", style="dim")
    for line in remarks(source, inspection):
        console.print(f"! {line}", style="yellow", markup=False, highlight=False)


def remarks(source: Table, inspection: Inspection) -> list[str]:
    """Return what a person should look at before a comparison, one line each."""
    lines = []
    if inspection.problem is not None:
        lines.append(f"no split can be made of this table: {inspection.problem}")
    if inspection.useless:
        lines.append(f"nothing can be learnt from {_listed(inspection.useless)}: left out in the YAML below")
    if inspection.leaks:
        lines.append(
            f"AUROC of {LEAK} and more alone: {_listed(inspection.leaks)}; known before the target, or a leak?"
        )
    if inspection.straddling:
        lines.append(
            f"{inspection.straddling:,} rows of validation and test have the features of a training row; rows that "
            "belong together stay together with data.group"
        )
    if inspection.repeated:
        lines.append(f"{inspection.repeated:,} rows repeat an earlier one, target included")
    if inspection.contradicting:
        lines.append(f"{inspection.contradicting:,} rows have the features of a row of another class")
    wide = [column.name for column in inspection.columns if column.kind == "categorical" and column.distinct > 1000
            and not column.identifier]  # fmt: skip
    if wide:
        lines.append(f"more than 1,000 categories, of which {source.max_categories - 1} are kept: {_listed(wide)}")
    return lines


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def as_yaml(source: Table, inspection: Inspection, options: Mapping[str, Any]) -> str:
    """Return a YAML of the group ``data`` for this table: the options and what was inferred."""
    keys: dict[str, Any] = {"path": str(source.path), "target": source.target}
    keys |= {key: value for key, value in options.items() if key not in ("drop", "classes", "positive")}
    keys["classes"] = list(inspection.classes)
    drop = [*source.drop, *inspection.useless]
    if drop:
        keys["drop"] = drop
    comments = {"classes": "the last is positive" if len(inspection.classes) == 2 else "in the order of their indices"}
    kinds = []
    for column in inspection.columns:
        missing = f", {column.missing:.1%} missing" if column.missing else ""
        note = f"; {column.note}" if column.note else ""
        kinds.append(f"#   {_comment(column.name)}: {column.kind}{missing}{note}")
    header = [f"# {_comment(source.path)} as lossbench inspect understood it: {inspection.rows:,} rows", *kinds]
    body = []
    for key, value in keys.items():
        line = yaml.safe_dump({key: value}, allow_unicode=True, default_flow_style=True, width=10**9).strip()[1:-1]
        body.append(f"{line} # {comments[key]}" if key in comments else line)
    return "\n".join([*header, "defaults: [table]", *body]) + "\n"


def _comment(text: object) -> str:
    return " ".join(str(text).split())
