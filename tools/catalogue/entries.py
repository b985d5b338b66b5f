"""The components under conf, each with its YAML, its instance and its docstring."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from catalogue.docstrings import Docstring, parse
from hydra.utils import get_object, instantiate
from omegaconf import OmegaConf

from lossbench.config.compose import conf_dir
from lossbench.errors import CannotServe
from lossbench.objective.losses.external import External
from lossbench.task import Task

# Facts, weights and pictures are those of two classes, the positive one rare, so that what imbalance does is seen.
TWO = Task(2, ("negative", "positive"), (900, 100))
THREE = Task(2, ("a", "b", "c"), (600, 300, 100))
EPOCHS = 20


@dataclass(frozen=True)
class Entry:
    """One YAML.

    Parameters
    ----------
    name
        The choice, as typed.
    header
        The comment that the YAML starts with, one line.
    yaml
        Its text after that comment.
    config
        What it says, without ``_target_``, as written.
    part
        The instance at the YAML's settings, bound to :data:`TWO`; a regularizer as it is.
    module
        Where its class or factory stands.
    doc
        Its docstring; of an adapted function the note of that name in ``External``'s.
    adapted
        It is :class:`External` with a function.
    more_classes
        It serves three classes too.
    """

    name: str
    header: str
    yaml: str
    config: dict[str, Any]
    part: Any
    module: ModuleType
    doc: Docstring
    adapted: bool
    more_classes: bool


def entries(group: str) -> list[Entry]:
    """Return the components of conf/<group>, by name."""
    made = (_entry(group, path) for path in sorted((conf_dir() / group).glob("*.yaml")))
    return [entry for entry in made if entry is not None]


def _entry(group: str, path: Path) -> Entry | None:
    header, text = _split(path.read_text())
    whole = OmegaConf.create({"trainer": {"max_epochs": EPOCHS}, "part": OmegaConf.create(text)})
    config = OmegaConf.to_container(whole.part)
    if not config:  # regularizer/none
        return None
    assert isinstance(config, dict)
    part, more = instantiate(whole.part, _convert_="all"), True
    if group != "regularizer":
        part.bind(TWO)
        try:
            instantiate(whole.part, _convert_="all").bind(THREE)
        except CannotServe:
            more = False
    target = get_object(config.pop("_target_"))
    doc = parse(target)
    adapted = target is External
    if adapted:
        if part.name not in doc.notes:
            raise ValueError(f"{path.stem} adapts {part.name}, of which the Notes of External's docstring say nothing")
        doc = replace(doc.notes[part.name], summary=header)
    return Entry(path.stem, header, text, config, part, sys.modules[target.__module__], doc, adapted, more)


def _split(text: str) -> tuple[str, str]:
    """Return the comment at the top, without Hydra's directives, and the rest."""
    lines = text.splitlines(keepends=True)
    n = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    comment = "\n".join(line.lstrip("#").strip() for line in lines[:n] if not line.startswith("# @"))
    # A line that begins with a capital begins a sentence, though the one before may end with an address.
    return re.sub(r"(\w)\n(?=[A-Z])", r"\1. ", comment).replace("\n", " "), "".join(lines[n:])
