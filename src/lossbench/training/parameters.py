"""Which parameters an optimizer treats alike: weight decay that spares biases, and groups by name pattern."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from lossbench.objective.regularizer import weight_names

DECAY_ON = ("weights", "all")


def parameter_groups(
    network: nn.Module,
    objective: nn.Module,
    decay_on: str = "weights",
    groups: Sequence[Mapping[str, Any]] = (),
    decays: bool = True,
) -> list[dict[str, Any]]:
    """Split the trainable parameters into the groups that an optimizer takes.

    Parameters
    ----------
    network
        Its parameters, by name.
    objective
        Parameters of the loss follow the optimizer without weight decay.
    decay_on
        ``weights`` sets ``weight_decay`` to 0 for all but the weight matrices (of Linear, Conv, Embedding ...);
        ``all`` leaves the optimizer's weight decay on every parameter, as torch does.
    groups
        Mappings with ``pattern`` (a shell pattern on parameter names, such as ``head.*``) and any settings that
        the optimizer takes per group, such as ``lr`` or ``weight_decay``. The first pattern that matches counts,
        and what it sets wins over ``decay_on``: a ``weight_decay`` given to ``body.*`` decays its biases too.

    decays
        False where the optimizer decays nothing: there is nothing to spare then, and one group steps faster than two.

    Raises
    ------
    ValueError
        For an unknown ``decay_on``, a group without a pattern or setting, or a pattern that takes no parameter.
    """
    if decay_on not in DECAY_ON:
        raise ValueError(f"training.decay_on is one of {', '.join(DECAY_ON)}, got {decay_on!r}")
    for group in groups:
        if not isinstance(group, Mapping) or "pattern" not in group or len(group) < 2:
            raise ValueError(f"training.groups needs a pattern and a setting (lr, ...) in each, got {group!r}")

    names = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    weights = set(weight_names(network))
    parameters = dict(network.named_parameters())
    result: list[tuple[dict[str, Any], list[nn.Parameter]]] = []

    def join(own: dict[str, Any], members: Sequence[nn.Parameter]) -> None:
        for settings, joined in result:
            if settings == own:
                joined.extend(members)
                return
        result.append((own, list(members)))

    taken: set[int] = set()
    for name in names:
        own: dict[str, Any] = {}
        if decays and decay_on == "weights" and name not in weights:
            own["weight_decay"] = 0.0
        for position, group in enumerate(groups):
            if fnmatch.fnmatchcase(name, str(group["pattern"])):
                taken.add(position)
                own |= {str(key): value for key, value in group.items() if key != "pattern"}
                break
        join(own, [parameters[name]])
    for position, group in enumerate(groups):
        if position not in taken:
            raise ValueError(
                f"training.groups pattern {group['pattern']!r} takes no parameter; they are {', '.join(names)}, "
                "and the first pattern that matches counts"
            )
    of_loss = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    if of_loss:
        join({"weight_decay": 0.0} if decays else {}, of_loss)
    return [{"params": members, **own} for own, members in result]
