"""Plain docstring text as Markdown."""

from __future__ import annotations

import re
import textwrap

WIDTH = 120
_CODE = r"``(.+?)``|:\w+:`~?(?:lossbench\.[\w.]*\.)?(.+?)`"


def inline(text: str) -> str:
    """Return a docstring's prose: roles and double backticks as code, addresses as links, the rest literal.

    >>> inline("p_k * p_j < 1, as ``brier``; :class:`torch.nn.BCELoss`: https://arxiv.org/abs/1.2.")
    'p_k \\\\* p_j &lt; 1, as `brier`; `torch.nn.BCELoss`: [arXiv:1.2](https://arxiv.org/abs/1.2).'
    """
    kept: list[str] = []

    def keep(made: str) -> str:
        kept.append(made)
        return f"\0{len(kept) - 1}\0"

    text = re.sub(_CODE, lambda found: keep(f"`{found[1] or found[2]}`"), text)
    text = re.sub(r"\*(?=\S)([^*]+)(?<=\S)\*", lambda found: keep(found[0]), text)  # emphasis
    text = re.sub(r"https://\S*[^\s.,;:)]", lambda found: keep(link(found[0])), text)
    text = re.sub(r"([\\`*\[\]|~])", r"\\\1", text).replace("<", "&lt;")
    text = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)  # within a word it is literal
    return re.sub("\0(\\d+)\0", lambda found: kept[int(found[1])], text)


def link(address: str) -> str:
    for sign in "<>()":
        address = address.replace(sign, f"%{ord(sign):X}")
    text = address.removeprefix("https://")
    for long, short in (("arxiv.org/abs/", "arXiv:"), ("doi.org/", "doi:")):
        if text.startswith(long):
            text = short + text.removeprefix(long)
    return f"[{text}]({address})"


def block(text: str, kind: str = "text") -> str:
    """Return text as a fenced block, wrapped where it is prose."""
    lines = (
        [text.rstrip()] if kind != "text" else _wrapped(re.sub(_CODE, lambda found: found[1] or found[2], text), 100)
    )
    return "\n".join([f"```{kind}", *lines, "```"])


def paragraph(text: str) -> str:
    return "\n".join(map(_no_list, _wrapped(text, WIDTH)))


def item(text: str) -> str:
    first, *rest = _wrapped(text, WIDTH - 2)
    return "\n".join([f"- {first}", *(f"  {_no_list(line)}" for line in rest)])


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def _no_list(line: str) -> str:
    """Keep a line that happens to begin like a list or heading from being one."""
    return re.sub(r"^(\d*)([-+=#>.)])", r"\1\\\2", line)


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def quantity(value: object) -> str:
    """Return a YAML value as a person types it.

    >>> quantity(None), quantity(True), quantity([1.0, 30.0]), quantity(0.05)
    ('null', 'true', '[1.0, 30.0]', '0.05')
    """
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
