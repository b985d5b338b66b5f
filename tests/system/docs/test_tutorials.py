"""Tutorials are run: the bash blocks of each page, in order, as a person would type them in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parents[3] / "docs" / "tutorials").glob("*.md"))
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# As installed from a wheel, where mlruns lies in the current folder; a checkout would keep it to itself.
COMMAND = """#!{python}
from pathlib import Path
from lossbench.config import compose
from lossbench.cli.main import main

compose.project = Path.cwd
if __name__ == "__main__":
    main()
"""


def test_there_are_tutorials_and_each_has_commands() -> None:
    assert PAGES
    for page in PAGES:
        assert BLOCK.findall(page.read_text()), page.name


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_tutorial_run(page: Path, tmp_path: Path) -> None:
    command = tmp_path / "bin" / "lossbench"
    command.parent.mkdir()
    command.write_text(COMMAND.format(python=sys.executable))
    command.chmod(0o755)
    empty = tmp_path / "empty"
    empty.mkdir()
    script = "set -euo pipefail\n" + "\n".join(BLOCK.findall(page.read_text()))
    path = os.pathsep.join([str(command.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    ended = subprocess.run(
        ["bash", "-c", script],
        cwd=empty,
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert ended.returncode == 0, f"{ended.stdout[-3000:]}\n{ended.stderr[-3000:]}"
