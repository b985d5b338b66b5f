"""Names and values as MLflow accepts them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

KEY_LIMIT = 250
PARAM_LIMIT = 6000
TAG_LIMIT = 8000


@lru_cache(4096)  # a sweep's runs have the same names
def clean(name: str) -> str:
    """Return a metric's or param's name as MLflow accepts it, itself where it does.

    MLflow takes letters, digits and ``_ - . : / space``, reads the whole as a path that must be in its normal
    form, and stops at 250 characters. Other characters become ``_``; a name that is too long ends in its
    hash.

    Examples
    --------
    >>> clean("test/recall/iris setosa"), clean("recall/a@b"), clean("/recall//..")
    ('test/recall/iris setosa', 'recall/a_b', '_/recall/_/_')
    """
    parts = re.sub(r"[^/\w.\- :]", "_", name).split("/")
    key = "/".join("_" if part in ("", ".", "..") else part for part in parts)
    key = f"_{key[1:]}" if key.startswith("..") else key  # taken for a way out of the folder
    return key if len(key) <= KEY_LIMIT else f"{key[: KEY_LIMIT - 9]}_{_digest(name)}"


class Keys:
    """Cleaned names that stay apart: a second name that cleans to a taken key gets its hash behind it.

    Examples
    --------
    >>> keys = Keys()
    >>> keys["recall/a b"], keys["recall/a b"], keys["recall/a_b"]
    ('recall/a b', 'recall/a b', 'recall/a_b')
    >>> keys["recall/a@b"].startswith("recall/a_b_")
    True
    """

    def __init__(self) -> None:
        self._keys: dict[str, str] = {}
        self._taken: set[str] = set()

    def __getitem__(self, name: str) -> str:
        if name not in self._keys:
            key = clean(name)
            if key in self._taken:
                key = f"{key[: KEY_LIMIT - 9]}_{_digest(name)}"
            self._taken.add(key)
            self._keys[name] = key
        return self._keys[name]


def cut(value: object, limit: int) -> str:
    """Return the text of a value, cut at `limit` characters with a note that says so.

    Examples
    --------
    >>> cut(.5, 6000), cut("a" * 100, 40)
    ('0.5', 'aaaaaaaaaaaaaa ... (cut, 100 characters)')
    """
    text = str(value)
    if len(text) <= limit:
        return text
    note = f" ... (cut, {len(text)} characters)"
    return text[: limit - len(note)] + note


def tags_of(values: Mapping[str, Any]) -> dict[str, str]:
    """Return tags as MLflow accepts them, leaving out those that are None."""
    keys = Keys()
    return {keys[name]: cut(value, TAG_LIMIT) for name, value in values.items() if value is not None}


def _digest(name: str) -> str:
    return hashlib.blake2b(name.encode(), digest_size=4).hexdigest()
