"""A real headless Chromium, driven through chromedriver by plain HTTP (W3C WebDriver)."""

import base64
import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)
PATIENCE = 60.0
"""Seconds until something that a machine under load does late counts as not done."""


def is_installed() -> bool:
    return bool(shutil.which("chromium") and shutil.which("chromedriver"))


class Browser:
    """One window."""

    def __init__(self, driver: str, profile: Path) -> None:
        self.driver = driver
        options = {"binary": shutil.which("chromium"), "args": [*ARGUMENTS, f"--user-data-dir={profile}"]}
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        self.session = (
            f"{driver}/session/"
            + self.post(f"{driver}/session", capabilities={"alwaysMatch": wanted})["sessionId"]
        )

    def post(self, address: str, /, **body: Any) -> Any:
        request = urllib.request.Request(
            address, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)["value"]

    def cdp(self, command: str, **parameters: Any) -> Any:
        return self.post(f"{self.session}/goog/cdp/execute", cmd=command, params=parameters)

    def open(self, url: str) -> None:
        self.post(f"{self.session}/url", url=url)

    def run(self, script: str, *arguments: Any) -> Any:
        """The value that a script returns."""
        return self.post(f"{self.session}/execute/sync", script=script, args=list(arguments))

    def wait(self, expression: str) -> Any:
        """The value of an expression of the page once it is true."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if value := self.run(f"return {expression}"):
                return value
            time.sleep(0.05)
        raise AssertionError(f"never true: {expression}; the console: {self.console()}")

    def type(self, selector: str, text: str) -> None:
        """Keys, as a person would press them."""
        found, *_ = self.post(f"{self.session}/elements", **{"using": "css selector", "value": selector})
        self.post(f"{self.session}/element/{next(iter(found.values()))}/value", text=text)

    def console(self) -> list[str]:
        """What the page has said on the console since it was last asked: errors, warnings and all."""
        return [entry["message"] for entry in self.post(f"{self.session}/se/log", type="browser")]

    def theme(self, name: str) -> None:
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def size(self, width: int, height: int) -> None:
        self.cdp(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        shot = self.cdp("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def quit(self) -> None:
        urllib.request.urlopen(
            urllib.request.Request(self.session, method="DELETE"), timeout=PATIENCE
        ).close()


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A window with a new profile in `folder`, and its driver; both end with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    driver = subprocess.Popen(
        [str(shutil.which("chromedriver")), f"--port={port}", "--silent"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "HOME": str(folder)},
    )  # fmt: skip
    try:
        _wait_for(f"http://127.0.0.1:{port}/status")
        window = Browser(f"http://127.0.0.1:{port}", folder / "profile")
        try:
            yield window
        finally:
            window.quit()
    finally:
        driver.terminate()
        driver.wait(PATIENCE)


def _wait_for(address: str) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            urllib.request.urlopen(address, timeout=PATIENCE).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return
