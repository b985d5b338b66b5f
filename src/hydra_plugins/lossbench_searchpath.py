"""Let a user's own ``./conf`` add components and override ours, and the modules beside it be imported."""

from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from lossbench.config import compose


class LossbenchSearchPath(SearchPathPlugin):
    """Search ``./conf`` of the current folder before the shipped configs, and the folder itself for modules."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        shipped = compose.conf_dir()
        if not any(str(element.path).endswith(str(shipped)) for element in search_path.get_path()):
            # Another Hydra application in this environment: its search path is not ours to change.
            return
        compose.make_importable(Path.cwd())
        folder = Path.cwd() / "conf"
        if folder.is_dir() and folder.resolve() != shipped.resolve():
            search_path.prepend("lossbench-user", f"file://{folder}")
