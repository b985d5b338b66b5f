"""What a single run shows: its config as a tree, the model, and a table of final metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

if TYPE_CHECKING:
    from torch import nn

    from lossbench.runs.execute import Result

# What a person looks for first; paths and settings of the record stay in config.yaml.
SHOWN = ("seed", "data", "model", "loss", "weighting", "regularizer", "optimizer", "scheduler", "trainer", "select")


def config_tree(config: Mapping[str, Any]) -> Tree:
    """Return the composed config as a tree, each component under the name of its choice."""
    tree = Tree("[bold]config[/bold]")
    for key in SHOWN:
        if key in config:
            _add(tree, key, config[key], config["choices"].get(key))
    return tree


def _add(tree: Tree, key: str, value: Any, choice: Any = None) -> None:
    label = Text(key, style="cyan")
    if not isinstance(value, Mapping):
        tree.add(label.append(f": {value if choice is None else choice}", style="default"))
        return
    if choice is not None:
        label.append(f": {choice}", style="bold default")
    branch = tree.add(label)
    for name, inner in value.items():
        if name not in ("_target_", "_partial_"):
            _add(branch, str(name), inner)


def model_table(network: nn.Module) -> Table:
    """Return the network's layers with their parameters, as Lightning's summary does, without its dummy batch."""
    table = Table(title=f"model: {type(network).__name__}", title_justify="left")
    table.add_column("layer")
    table.add_column("kind")
    table.add_column("parameters", justify="right")
    total = 0
    for name, module in network.named_modules():
        count = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        if count or (name and not list(module.children())):
            table.add_row(escape(name), escape(str(module)), f"{count:,}" if count else "")
            total += count
    table.add_section()
    table.add_row("total", "", f"{total:,}")
    return table


def metrics_table(metrics: Mapping[str, float]) -> Table:
    """Return the final metrics, a row each, a column for each split."""
    splits = [split for split in ("train", "val", "test") if any(key.startswith(f"{split}/") for key in metrics)]
    table = Table()
    table.add_column("metric")
    for split in splits:
        table.add_column(split, justify="right")
    names = list(dict.fromkeys(key.split("/", 1)[1] for key in metrics if "/" in key))
    for name in names:
        values = [metrics.get(f"{split}/{name}") for split in splits]
        table.add_row(escape(name), *("" if value is None else f"{value:.4f}" for value in values))
    return table


def show_start(console: Console, config: Mapping[str, Any], network: nn.Module) -> None:
    """Print what is about to be trained."""
    console.print(config_tree(config))
    console.print(model_table(network))


def show_end(console: Console, result: Result) -> None:
    """Print the run's figures and how to open it."""
    console.print(metrics_table(result.metrics))
    metric = result.job.rule.metric
    chosen = f"by {metric}" if metric else "the last"
    console.print(
        f"epoch {result.fit.selected_epoch} of {result.fit.epochs} selected ({chosen}); "
        f"posterior: {result.evaluation.posterior_kind}; trained in {result.fit.seconds:.1f} s"
    )
    if result.job.dataset.train.weight is not None:
        console.print("rows weigh in the training loss as data.weight says; metrics count every row once")
    for key, reason in result.evaluation.undefined.items():
        console.print(f"[yellow]{escape(key)} is undefined:[/yellow] {escape(reason)}")
    console.print(f"run {result.run_id}; open it with [bold]lossbench ui[/bold]")
