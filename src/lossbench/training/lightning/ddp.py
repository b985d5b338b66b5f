"""Lightning's DDP over a process group that exists already: `lossbench.runs.ranks` starts its processes."""

from __future__ import annotations

from lightning.fabric.plugins import ClusterEnvironment
from lightning.pytorch.strategies import DDPStrategy

from lossbench.training.lightning.shared_batch import Ranks


class RunningRanks(ClusterEnvironment):
    """The ranks of one machine, which all run before Lightning asks for them."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        return "127.0.0.1"  # never read: the group has met through a file

    @property
    def main_port(self) -> int:
        return 0

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self._ranks.world

    def set_world_size(self, size: int) -> None:
        pass

    def global_rank(self) -> int:
        return self._ranks.rank

    def set_global_rank(self, rank: int) -> None:
        pass

    def local_rank(self) -> int:
        return self._ranks.rank

    def node_rank(self) -> int:
        return 0


class Ddp(DDPStrategy):
    """Lightning's strategy without its launcher.

    That one would run the whole command again for every rank, kill the command where a rank fails (so that its run
    could not be recorded as FAILED), and set torch's threads.
    """

    def _configure_launcher(self) -> None:
        pass


def strategy(name: str, ranks: Ranks) -> Ddp:
    """Return Lightning's strategy of this name (one of `lossbench.training.settings.STRATEGIES`) for these ranks."""
    return Ddp(cluster_environment=RunningRanks(ranks), find_unused_parameters=name.endswith("_true"))
