"""From a sweep's overrides to the config of every job, with as little of Hydra's composition as is safe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from lossbench.config import compose
from lossbench.errors import UserError

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader

# Keys and list indices, from the top.
_Path = tuple[str | int, ...]


def with_grids(params: Mapping[str, Any], grids: Any, arguments: Sequence[str]) -> list[list[str]]:
    """Return the overrides of each of a sweep's grids: `params`, those of the grid, and what was typed.

    What was typed wins: a key of a grid leaves where it, or the group that it is a setting of, is typed.

    Raises
    ------
    UserError
        Where `hydra.sweeper.grids` is no list of mappings.

    Examples
    --------
    >>> grids = [{"data": "iris"}, {"data": "rings", "data.positives": "50,100"}]
    >>> with_grids({"seed": 3}, grids, ["loss=mse"])
    [['seed=3', 'data=iris', 'loss=mse'], ['seed=3', 'data=rings', 'data.positives=50,100', 'loss=mse']]
    >>> with_grids({}, grids, ["data=wine"])
    [['data=wine'], ['data=wine']]
    """
    if not isinstance(grids, list | type(None)) or not all(isinstance(grid, Mapping) for grid in grids or []):
        raise UserError(f"hydra.sweeper.grids is a list of mappings from keys to values, got {grids!r}")
    typed = {argument.lstrip("+~").partition("=")[0].partition("@")[0] for argument in arguments}
    overrides = []
    for grid in grids or [{}]:
        kept = {key: value for key, value in grid.items() if not typed & {key, key.partition(".")[0]}}
        overrides.append([*(f"{key}={value}" for key, value in {**params, **kept}.items()), *arguments])
    return overrides


def expand(*grids: Sequence[Override]) -> list[list[str]]:
    """Return one list of overrides per job: each grid in the order of Hydra's basic sweeper, no job twice."""
    jobs: dict[tuple[str, ...], list[str]] = {}
    try:
        for overrides in grids:
            for job in BasicSweeper.split_arguments(list(overrides), None)[0]:
                jobs.setdefault(tuple(job), job)
    except HydraException as error:
        raise UserError(f"sweep: {error}") from error
    if not jobs:
        raise UserError("sweep: the overrides describe no job; a sweep over an empty list has nothing to run")
    return list(jobs.values())


def compose_all(
    combinations: Sequence[Sequence[str]], config: DictConfig, loader: ConfigLoader
) -> list[dict[str, Any]]:
    """Compose every job's config into plain containers.

    Hydra needs .13 s to compose a job. Jobs that differ in plain values alone (``seed=3``, ``loss.gamma=5``) share
    one compose, and their values are set on it before interpolations resolve. Whatever touches the defaults
    list, adds or deletes a key, or is no scalar is composed by Hydra. A sample is composed both ways: the last job of
    the first and of the last group whose values have the same keys; should they differ, all those groups' jobs are
    composed by Hydra.
    """
    parser = OverridesParser.create(config_loader=loader)
    groups: dict[tuple[tuple[str, ...], frozenset[str]], list[int]] = {}
    values: list[dict[str, Any]] = []
    for number, overrides in enumerate(combinations):
        choices, set_values = _split(parser.parse_overrides(list(overrides)), config)
        groups.setdefault((tuple(choices), frozenset(set_values)), []).append(number)
        values.append(set_values)

    @cache
    def composed(number: int) -> Composed:
        return Composed(combinations[number], config, loader)

    bases = {group: composed(members[0]) for group, members in groups.items()}

    def agree(group: tuple[tuple[str, ...], frozenset[str]]) -> bool:
        last = groups[group][-1]
        return last == groups[group][0] or bases[group].plain(values[last]) == composed(last).plain()

    shared: dict[frozenset[str], bool] = {}
    for keys in {keys for _, keys in groups}:
        alike = [group for group in groups if group[1] == keys]
        leaves = all(bases[group].has_leaf(key) for group in alike for key in keys)
        shared[keys] = leaves and all(agree(group) for group in dict.fromkeys((alike[0], alike[-1])))

    result: list[dict[str, Any]] = [{}] * len(combinations)
    for group, members in groups.items():
        for number in members:
            if number == members[0]:
                result[number] = bases[group].plain()
            else:
                result[number] = bases[group].plain(values[number]) if shared[group[1]] else composed(number).plain()
    return result


def _split(overrides: Sequence[Override], config: DictConfig) -> tuple[list[str], dict[str, Any]]:
    """Part a job's overrides into those that Hydra has to compose and plain values by dotted key."""
    groups = set(config.hydra.runtime.choices)
    choices: list[str] = []
    values: dict[str, Any] = {}
    for override in overrides:
        key, value = override.key_or_group, override.value()
        simple = override.type == OverrideType.CHANGE and override.package is None
        scalar = value is None or isinstance(value, bool | int | float | str)
        if simple and scalar and key not in groups:
            values[key] = value
        else:
            choices.append(str(override.input_line))
    return choices, values


class Composed:
    """One job as Hydra composed it, before its interpolations resolve; values are set on it at no cost."""

    def __init__(self, overrides: Sequence[str], config: DictConfig, loader: ConfigLoader) -> None:
        composed = loader.load_sweep_config(config, list(overrides))
        self._hydra = OmegaConf.create({"hydra": composed.hydra})
        self._choices = composed.hydra.runtime.choices
        with open_dict(composed):
            del composed["hydra"]
        self._container = OmegaConf.to_container(composed, resolve=False)
        self._config = DictConfig(self._container)
        self._paths: dict[str, list[_Path] | None] = {}

    def has_leaf(self, key: str) -> bool:
        node: Any = self._container
        for part in key.split("."):
            if not isinstance(node, dict) or part not in node:
                return False
            node = node[part]
        return not isinstance(node, dict | list)

    def plain(self, values: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Set values by dotted key, resolve, and name the choices."""
        values = values or {}
        paths_by_key = {key: self._paths_of(key) for key in values}
        paths = [path for of_key in paths_by_key.values() for path in of_key or ()]
        # A value that goes where another key's goes as well (`b: ${a}`, and both are set): OmegaConf sorts it out.
        if None in paths_by_key.values() or len(set(paths)) < len(paths):
            return self._resolved(values)
        result: dict[str, Any] = _copy(self._base)
        for key, of_key in paths_by_key.items():
            for *path, leaf in of_key or ():
                node: Any = result
                for part in path:
                    node = node[part]
                node[leaf] = values[key]
        return result

    @cached_property
    def _base(self) -> dict[str, Any]:
        return self._resolved({})

    def _paths_of(self, key: str) -> list[_Path] | None:
        """Return where a key's value ends up unchanged; None where an interpolation computes with it.

        Resolving costs 5 ms a job, and nearly every value is copied by interpolations or stands alone.
        """
        if key not in self._paths:
            marker = f"<{key}>"
            try:
                marked = self._resolved({key: marker})
            except OmegaConfBaseException:
                marked = {}
            changed = list(_differences(self._base, marked))
            alone = all(value == marker for _, value in changed)
            self._paths[key] = [path for path, _ in changed] if changed and alone else None
        return self._paths[key]

    def _resolved(self, values: Mapping[str, Any]) -> dict[str, Any]:
        changed = [(self._node(key), key.rpartition(".")[2], value) for key, value in values.items()]
        before = [OmegaConf.to_container(node, resolve=False)[leaf] for node, leaf, _ in changed]  # type: ignore[index, call-overload]  # a mapping
        for node, leaf, value in changed:
            node[leaf] = value
        before_cfg = HydraConfig.instance().cfg
        HydraConfig.instance().cfg = self._hydra  # type: ignore[assignment]
        try:
            return compose.plain(self._config, self._choices)
        finally:
            HydraConfig.instance().cfg = before_cfg
            # The nodes serve the next job: to make them anew would cost as much as all the rest.
            for (node, leaf, _), value in zip(changed, before, strict=True):
                node[leaf] = value

    def _node(self, key: str) -> DictConfig:
        node = self._config
        for part in key.split(".")[:-1]:
            node = node[part]
        return node


def document(loader: ConfigLoader, path: str) -> dict[str, Any]:
    """Return a YAML of the search path that is not part of the config; a key of a person's own file replaces ours."""
    merged: dict[str, Any] = {}
    for source in reversed(loader.get_sources()):
        if source.available() and source.is_group(path):
            raise UserError(f"conf/{path} is a folder: what its files held are keys of one file now, conf/{path}.yaml")
        if source.available() and source.is_config(path):
            content = OmegaConf.to_container(source.load_config(path).config, resolve=True)
            merged |= {str(key): value for key, value in content.items()} if isinstance(content, dict) else {}
    return merged


def _copy(node: Any) -> Any:
    """Copy plain containers; their leaves do not change."""
    if isinstance(node, dict):
        return {key: _copy(value) for key, value in node.items()}
    return [_copy(value) for value in node] if isinstance(node, list) else node


def _differences(one: Any, other: Any, path: _Path = ()) -> Iterator[tuple[_Path, Any]]:
    """Yield the paths at which the second of two trees differs from the first, with its value there."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for key in one:
            yield from _differences(one[key], other[key], (*path, key))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (value, changed) in enumerate(zip(one, other, strict=True)):
            yield from _differences(value, changed, (*path, index))
    elif one != other:
        yield path, other
