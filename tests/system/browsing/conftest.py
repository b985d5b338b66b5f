"""A real headless browser, driven by W3C WebDriver's own requests: five of them are all that these tests need."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
WIDTH, HEIGHT = 1500, 1100


@pytest.fixture(scope="session")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("no chromium or no chromedriver is installed")
    with started(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture(scope="session")
def port() -> int:
    return free_port()


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Browser:
    """One window. See https://www.w3.org/TR/webdriver2/#endpoints."""

    def __init__(self, session: str) -> None:
        self._session = session

    def open(self, address: str) -> None:
        # Pages that differ behind the # alone would not be loaded anew.
        for page in ("about:blank", address):
            call("POST", f"{self._session}/url", {"url": page})

    def run(self, script: str, *arguments: Any) -> Any:
        return call("POST", f"{self._session}/execute/sync", {"script": script, "args": list(arguments)})

    def enter_frame(self, number: int = 0) -> None:
        call("POST", f"{self._session}/frame", {"id": number})

    def text(self) -> str:
        return str(self.run("return document.body.innerText"))

    def wait_for(self, script: str, *arguments: Any, seconds: float = 40.0) -> Any:
        """Return the first true value of a script; the page's text is in the error."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            found = self.run(script, *arguments)
            if found:
                return found
            time.sleep(0.3)
        raise AssertionError(
            f"{script} {arguments} stayed false for {seconds:.0f} s on a page that says:\n{self.text()}"
        )

    def wait_for_text(self, *texts: str) -> None:
        self.wait_for("return arguments[0].every(text => document.body.innerText.includes(text))", list(texts))

    def keep(self, place: Path) -> bytes:
        """Keep a screenshot and return it."""
        place.write_bytes(base64.b64decode(call("GET", f"{self._session}/screenshot")))
        return place.read_bytes()


def call(method: str, address: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=120) as response:
        return json.load(response)["value"]


@contextmanager
def started(folder: Path) -> Iterator[Browser]:
    """Start chromium, and end it with all its processes."""
    assert CHROMIUM is not None
    assert DRIVER is not None
    own = free_port()
    driver = subprocess.Popen([DRIVER, f"--port={own}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        at = f"http://127.0.0.1:{own}"
        for _ in range(100):
            try:
                call("GET", f"{at}/status")
                break
            except urllib.error.URLError:
                time.sleep(0.1)
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        flags += [
            "--disable-component-update",
            f"--window-size={WIDTH},{HEIGHT}",
            f"--user-data-dir={folder / 'profile'}",
        ]
        options = {"binary": CHROMIUM, "args": flags}
        wanted = {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}
        session = f"{at}/session/{call('POST', f'{at}/session', {'capabilities': wanted})['sessionId']}"
        try:
            yield Browser(session)
        finally:
            call("DELETE", session)
    finally:
        driver.terminate()
        driver.wait(10)
