"""``lossbench new``: the files of a part of your own, in the current folder, ready to be changed."""

from __future__ import annotations

import argparse
import keyword
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from lossbench.config import compose
from lossbench.errors import UserError

TEMPLATES = Path(__file__).parent / "templates"
# What a person asks for, and the folder of conf/ that it is a choice of.
GROUPS = {"loss": "loss", "regularizer": "regularizer", "model": "model", "data": "data", "metric": "metrics"}
_TRY = {
    "loss": "lossbench -m loss=cross_entropy,{name} 'seed=range(10)'",
    "regularizer": "lossbench -m regularizer=none,{name} 'seed=range(10)'",
    "model": "lossbench -m model={name} loss=cross_entropy,focal 'seed=range(10)'",
    "data": "lossbench -m data={name} loss=cross_entropy,focal 'seed=range(10)'",
    "metric": "lossbench -m metrics={name} compare.metric=test/{name} loss=cross_entropy,focal 'seed=range(10)'",
}


def main(arguments: Sequence[str]) -> int:
    """Write the files of a part and say what can be done with them."""
    parser = argparse.ArgumentParser(
        prog="lossbench new",
        description="Write a part of your own into the current folder: a module, its choice in ./conf, and a test.",
    )
    parser.add_argument("kind", choices=tuple(GROUPS), help="what it is")
    parser.add_argument("name", help="such as my_loss: the module, the choice, and in capitals the class")
    parser.add_argument(
        "--class", dest="as_class", action="store_true", help="a loss as a class, with numbers that stack"
    )
    parsed = parser.parse_args(arguments)
    if parsed.as_class and parsed.kind != "loss":
        parser.error("--class goes with a loss")
    folder = Path.cwd()
    files = contents(parsed.kind, parsed.name, parsed.as_class)
    _check_name(parsed.kind, parsed.name, folder, files)
    for path, text in files.items():
        try:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error}") from error
        print(f"wrote {path}")
    test = next(path for path in files if path.startswith("tests/"))
    print("next, in this folder:")
    print(f"  run    lossbench {GROUPS[parsed.kind]}={parsed.name}")
    print(f"  sweep  {_TRY[parsed.kind].format(name=parsed.name)}")
    print(f"  test   python -m pytest {test}    (which law it breaks, and at which values)")
    return 0


def contents(kind: str, name: str, as_class: bool = False) -> dict[str, str]:
    """Return the text of each file of a part, by its path in the folder, with the part's name in place of ours."""
    root = TEMPLATES / ("loss_class" if as_class else kind)
    files = sorted(path for path in root.rglob("*") if path.suffix in (".py", ".yaml"))
    ours = next(path.stem for path in files if path.parent == root)

    def named(text: str) -> str:
        return text.replace(ours, name).replace(_class_name(ours), _class_name(name))

    return {named(path.relative_to(root).as_posix()): named(path.read_text(encoding="utf-8")) for path in files}


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _check_name(kind: str, name: str, folder: Path, files: dict[str, str]) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise UserError(
            f"a name has lower-case letters, digits and underscores, a letter first, and is no word of Python's, "
            f"got {name!r}"
        )
    present = [path for path in files if (folder / path).exists()]
    if present:
        raise UserError(f"{', '.join(present)}: there already, and nothing was written")
    group = GROUPS[kind]
    if (compose.conf_dir() / group / f"{name}.yaml").exists():
        raise UserError(f"{group}={name} is lossbench's own, choose another name")
    if find_spec(name) is not None:
        raise UserError(f"a module {name!r} is installed and would be imported in its place, choose another name")
