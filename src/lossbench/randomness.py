"""Randomness by name: one generator per (seed, stream, epoch), and none of them global.

Every random decision of a run belongs to a stream. Two runs with one seed share every stream, whatever their
loss, so their difference is paired; and because an epoch has a generator of its own, a run that resumes at an
epoch boundary needs no generator state to continue exactly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import torch

Stream = Literal["source", "split", "test", "init", "order", "dropout", "noise"]


def integer(seed: int, stream: Stream, epoch: int = 0, bits: int = 63) -> int:
    """Return the seed of one generator, a hash of its three names (so seeds 0 and 1 are unrelated).

    >>> integer(0, "split") == integer(0, "split")
    True
    >>> integer(0, "split") == integer(0, "order")
    False
    """
    if stream not in get_args(Stream):
        raise ValueError(f"a stream is one of {', '.join(get_args(Stream))}, got {stream!r}")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise ValueError(f"a seed is an integer, got {seed!r}")
    digest = hashlib.blake2b(f"{seed}/{stream}/{epoch}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - bits)


def generator(seed: int, stream: Stream, epoch: int = 0) -> torch.Generator:
    """Return the CPU generator of (seed, stream, epoch), at its start."""
    return torch.Generator().manual_seed(integer(seed, stream, epoch))


@contextmanager
def seeded(seed: int, stream: Stream, epoch: int = 0) -> Iterator[None]:
    """Run a block with torch's global CPU generator at (seed, stream, epoch), and put it back afterwards.

    For code that only knows the global generator: the initialisation of torch's layers, a user's own dropout.
    """
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which seeds every accelerator as well and puts none of them back.
        torch.default_generator.manual_seed(integer(seed, stream, epoch))
        yield
