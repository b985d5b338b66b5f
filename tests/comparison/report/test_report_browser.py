"""The report in a real browser, opened from disk: it fits a phone, shows every drawing and is refused nothing.

The screenshots stay in the test's folder (`pytest --basetemp=somewhere`).
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from lossbench.comparison.report.evidence import Evidence, Names
from lossbench.comparison.report.page import About, build_page

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome is installed"),
]

# A window is never narrower than 500 pixels; a frame in it is what a phone shows.
FRAME = """<body style="margin:0">
<iframe id="f" src="{page}" style="width:{width}px;height:{height}px;border:0;display:block"></iframe>
<pre id="said"></pre><script>
document.getElementById("f").onload = function () {{
  const page = this.contentDocument, drawings = [...page.querySelectorAll("figure svg")];
  const shown = drawings.filter(one => one.getBoundingClientRect().height > 50).length;
  const wide = page.documentElement.scrollWidth, ink = getComputedStyle;
  document.getElementById("said").textContent =
    `wide=${{wide}} drawings=${{drawings.length}} shown=${{shown}} paper=${{ink(page.body).backgroundColor}}`;
}};
</script></body>"""


def browse(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    assert BROWSER is not None
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-background-networking",
        "--disable-component-update", "--allow-file-access-from-files", "--enable-logging=stderr",
        f"--user-data-dir={folder / 'profile'}", "--timeout=20000", *arguments,
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


@pytest.fixture(scope="module")
def page(evidence: Callable[..., Evidence], tmp_path_factory: pytest.TempPathFactory) -> Path:
    strengths = {f"objective_{n} · l2": n / 3 for n in range(9)} | {"cross_entropy": 2.0}
    made = build_page(
        evidence(strengths, names=Names(("negative", "positive"), ("width", "height"))),
        About("ten objectives on rings", "Which one wins?", commands=["lossbench -m loss=" + "focal," * 40]),
    )
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(made.html, encoding="utf-8")
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1280, 5200), (390, 9500)])
def test_it_fits_and_draws(page: Path, tmp_path: Path, width: int, height: int, scheme: str) -> None:
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.format(page=page.as_uri(), width=width, height=height))
    dark = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    done = browse(tmp_path, *dark, "--dump-dom", frame.as_uri())
    said = dict(re.findall(r"(\w+)=(\d+|rgb\([\d, ]+\))", done.stdout[done.stdout.index('id="said"') :]))
    assert int(said["wide"]) <= width
    assert said["drawings"] == said["shown"] != "0"
    assert said["paper"] == ("rgb(20, 23, 27)" if scheme == "dark" else "rgb(255, 255, 255)")
    assert "Refused to" not in done.stderr
    assert "violates the following Content Security Policy" not in done.stderr

    shot = tmp_path / f"report-{width}-{scheme}.png"
    browse(tmp_path, *dark, f"--window-size={max(width, 500)},{height}", f"--screenshot={shot}", frame.as_uri())
    pixels = matplotlib.image.imread(shot)[:, :width, :3]
    assert pixels.shape[1] == width
    # Something stands in every tenth of it but the last, which may be empty.
    assert all(np.ptp(part) > 0.5 for part in np.array_split(pixels, 10)[:6])


def test_it_prints(page: Path, tmp_path: Path) -> None:
    paper = tmp_path / "report.pdf"
    browse(tmp_path, f"--print-to-pdf={paper}", "--no-pdf-header-footer", page.as_uri())
    pages = len(re.findall(rb"/Type\s*/Page[^s]", paper.read_bytes()))
    assert 2 <= pages <= 12
