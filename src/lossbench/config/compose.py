"""Where configs live, and how they compose into plain containers."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf, open_dict

from lossbench.errors import UserError

if TYPE_CHECKING:
    from hydra._internal.hydra import Hydra

PACKAGE = Path(__file__).resolve().parent.parent


def conf_dir() -> Path:
    """Return the folder of the shipped configs: inside the package in a wheel, at the top in a checkout."""
    inside = PACKAGE / "conf"
    return inside if inside.is_dir() else _checkout() / "conf"


def _checkout() -> Path:
    return PACKAGE.parent.parent


def project() -> Path:
    """Return the folder that ``mlruns`` lies in: the checkout, or the current folder when installed."""
    return Path.cwd() if (PACKAGE / "conf").is_dir() else _checkout()


def make_importable(folder: str | Path) -> None:
    """Let a person's own modules in a folder be imported, after everything that is installed.

    An installed console script does not see the current folder. It comes last, so that a file of an unlucky name
    (``random.py``) breaks nothing that works without it; worker processes inherit the path.
    """
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def register_resolvers() -> None:
    """Make ``${lossbench.project:}`` known to OmegaConf; safe to call again."""
    OmegaConf.register_new_resolver("lossbench.project", lambda: str(project()), replace=True)


register_resolvers()


@contextmanager
def hydra_application(config_dir: str | Path | None = None) -> Iterator[tuple[Hydra, list[str]]]:
    """Yield Hydra, set up for our configs, and the overrides that make it find a person's own folder of configs."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    if config_dir is not None:
        make_importable(Path(config_dir).resolve().parent)
    search = [f"hydra.searchpath=[file://{Path(config_dir).resolve()}]"] if config_dir is not None else []
    # Hydra knows one application at a time, and we may be inside of another's.
    outer, GlobalHydra.instance().hydra = GlobalHydra.instance().hydra, None
    try:
        with initialize_config_dir(str(conf_dir()), job_name="lossbench", version_base="1.3"):
            hydra = GlobalHydra.instance().hydra
            assert hydra is not None
            yield hydra, search
    finally:
        GlobalHydra.instance().hydra = outer


def compose(overrides: Sequence[str] = (), config_dir: str | Path | None = None) -> dict[str, Any]:
    """Compose a run's config without a command line, as ``lossbench`` would with the same overrides.

    Parameters
    ----------
    overrides
        Hydra overrides, such as ``["loss=focal", "seed=3"]``.
    config_dir
        A folder of further configs, as ``--config-dir``; modules beside it are found. Those in ``./conf`` of the
        current folder always count, and win over the shipped ones of the same name.

    Returns
    -------
    dict
        The resolved config in plain containers, with the names of the choices under ``choices``.
    """
    from hydra import compose as hydra_compose

    with hydra_application(config_dir) as (_, search):
        config = hydra_compose("train", [*overrides, *search], return_hydra_config=True)
    choices = config.hydra.runtime.choices
    # There is no job yet, so what hydra itself would fill in has a stand-in.
    OmegaConf.set_readonly(config, False)
    config.hydra.runtime.output_dir = str(Path(str(config.paths.mlruns)) / "hydra")
    OmegaConf.resolve(config)
    with open_dict(config):
        del config["hydra"]
    return plain(config, choices)


def plain(config: DictConfig, choices: Mapping[str, Any]) -> dict[str, Any]:
    """Resolve a composed config into plain containers and write the names of its choices into it.

    Raises
    ------
    omegaconf.errors.MissingMandatoryValue
        Where a value is still ``???``.
    """
    result = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(result, dict)
    require_shape(result)
    named = {str(key): value for key, value in choices.items() if not str(key).startswith("hydra/")}
    return {
        **{str(key): value for key, value in result.items()},
        "choices": _regularizer_names(named, result),
    }


def require_shape(config: Mapping[Any, Any]) -> None:
    """Refuse a config that lacks a key, or has something else where a group of keys belongs.

    Raises
    ------
    UserError
        Naming the first of them.
    """
    for section, wanted in _shape().items():
        node: Any = config
        for part in section.split("."):
            node = node.get(part)
        if node is None and section in _MAY_BE_NULL:
            continue
        if node is None:
            raise UserError(f"{section} is missing, and nothing works without")
        if not isinstance(node, Mapping):
            has = ", ".join(wanted) or "components by name"
            raise UserError(f"{section} is a group of keys ({has}), got {node!r}")
        for key in wanted:
            if key not in node:
                raise UserError(f"{section}.{key} is missing, and nothing works without")
        if not wanted:
            for name in node:
                if not isinstance(name, str) or "." in name:
                    raise UserError(f"{section} has components by name, a text without dots, got {name!r}")
        if "_target_" in wanted and not isinstance(node["_target_"], str):
            raise UserError(f"{section}._target_ is the name of a class or function, got {node['_target_']!r}")
    for key in _ALONE:
        if key not in config:
            raise UserError(f"{key} is missing, and nothing works without")


# Where null is a choice, and keys at the top.
_MAY_BE_NULL, _ALONE = ("scheduler",), ("seed", "ckpt_path", "export")


@functools.cache
def _shape() -> dict[str, tuple[str, ...]]:
    """Return the sections that every config has, a section before those inside it, each with the keys that are read."""

    def keys(file: str) -> Any:
        return OmegaConf.to_container(OmegaConf.load(conf_dir() / file), resolve=False)

    train = keys("train.yaml")
    sections = {name: tuple(train[name]) for name in ("select", "compare", "sweep", "training", "paths", "job")}
    parts = dict.fromkeys(("data", "model", "loss", "weighting", "optimizer", "scheduler"), ("_target_",))
    named = dict.fromkeys(("regularizer", "callbacks", "metrics"), ())
    tracking = tuple(keys("tracking/mlflow.yaml"))
    trainer = ("accelerator", "devices", "max_epochs")
    return {**sections, **parts, **named, "trainer": trainer, "tracking": tracking, "tracking.loggers": ()}


def _regularizer_names(choices: dict[str, Any], config: Mapping[Any, Any]) -> dict[str, Any]:
    """Name the regularizers by what is in the config, since several can be chosen in one group."""
    return {**choices, "regularizer": "+".join(config.get("regularizer") or {}) or "none"}
