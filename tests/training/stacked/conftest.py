"""Where stacks are trained: `--device cuda` on a machine that has one, `--device elsewhere` on any.

`elsewhere` is a device for machines without a GPU. Its tensors mix with no others, as a GPU's do not, and neither
numpy nor an operation on the processor takes them; their numbers are the processor's. It shows what was left behind
when a stack moved, and nothing of a GPU's kernels, rounding, memory or speed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

ELSEWHERE = "elsewhere"
COPYING = ("aten.copy_", "aten._to_copy")
# Their indices may lie on the processor, whatever they look into.
INDEXING = ("aten.index.", "aten.index_put")
JOINING = ("aten.cat", "aten.stack")


class Far(Tensor):
    """A tensor elsewhere; only `carry_out` reaches its numbers."""

    near: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, near: Tensor) -> Far:
        made = Tensor._make_wrapper_subclass(
            cls,
            near.size(),
            strides=near.stride(),
            storage_offset=near.storage_offset(),
            dtype=near.dtype,
            device=f"{ELSEWHERE}:0",
        )
        made.near = near
        return made

    def tolist(self) -> Any:
        # Any device has it, and torch leaves it to who makes a kind of tensor.
        return self.near.tolist()

    @classmethod
    def __torch_dispatch__(
        cls, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return carry_out(func, args, kwargs or {})


class Elsewhere(TorchDispatchMode):
    """While it is entered, tensors can be made elsewhere."""

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return carry_out(func, args, kwargs or {})


def carry_out(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Do on the processor what was asked for elsewhere, unless tensors of both are given."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    far = {id(tensor.near): tensor for tensor in tensors if isinstance(tensor, Far)}
    name = str(func)
    if far and not name.startswith(COPYING):
        bound = [args[0], *args[2:3]] if name.startswith(INDEXING) else tensors
        for tensor in bound:
            # A single number may lie anywhere, but where tensors are joined.
            free = isinstance(tensor, Far) or (tensor.dim() == 0 and not name.startswith(JOINING))
            if not free:
                raise RuntimeError(f"{func} was given tensors of two devices, {tuple(tensor.shape)} on the processor")
    asked = kwargs.get("device")
    to_far = bool(far) if asked is None else torch.device(asked).type == ELSEWHERE
    if name.startswith("aten.copy_"):
        to_far = isinstance(args[0], Far)
    if to_far and kwargs.get("generator") is not None:
        raise RuntimeError(f"{func} was given a generator of the processor")
    near_args, near_kwargs = tree_map(lambda leaf: leaf.near if isinstance(leaf, Far) else leaf, (args, dict(kwargs)))
    if asked is not None:
        near_kwargs["device"] = torch.device("cpu")
    found = func(*near_args, **near_kwargs)
    if not to_far:
        return found
    # What is written in place stays the tensor that was given.
    return tree_map(
        lambda leaf: leaf if not isinstance(leaf, Tensor) else far[id(leaf)] if id(leaf) in far else Far(leaf), found
    )


@pytest.fixture(scope="session")
def _elsewhere_is_known() -> None:
    # For good, so that only a process that asked for it has one device more.
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    _setup_privateuseone_for_python_backend(rename=ELSEWHERE)
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(numbers, device=...) asks this file, too


@pytest.fixture
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    name: str = request.config.getoption("--device")
    if name != ELSEWHERE:
        yield name
        return
    request.getfixturevalue("_elsewhere_is_known")
    with Elsewhere():
        yield name
