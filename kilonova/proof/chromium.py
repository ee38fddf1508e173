"""A headless Chromium, driven over a pipe by the DevTools protocol with the standard library alone."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--disable-extensions",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
)


class BrowserError(Exception):
    """The browser did not do what was asked."""


def find() -> str:
    """The path of a browser, or an empty string."""
    return next((path for name in NAMES if (path := shutil.which(name))), "")


class Browser:
    """One browser with one page: `with Browser() as page: page.open(url)`."""

    def __init__(self, path: str = "", width: int = 1280, height: int = 800):
        """Choose browser and size; nothing is started yet."""
        self.path, self.width, self.height = path or find(), width, height
        # What pages write to the console (errors and warnings), and uncaught errors.
        self.messages: list[str] = []
        # Addresses that pages asked for.
        self.requests: list[str] = []
        self._number = 0
        self._buffer = b""
        self._loaded = False

    def __enter__(self) -> Browser:
        """Start it with an empty profile."""
        if not self.path:
            raise BrowserError(f"there is no {' or '.join(NAMES[:2])} here")
        self._profile = tempfile.mkdtemp(prefix="kilonova-browser-")
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        # Root's browser has no sandbox of its own; the pages are ours.
        flags = [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        command = [
            self.path,
            *flags,
            f"--user-data-dir={self._profile}",
            f"--window-size={self.width},{self.height}",
            "about:blank",
        ]
        # The protocol wants descriptors 3 and 4: a shell moves ours there, whichever numbers they have.
        script = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        # Not by kilonova.onhost.command: it runs while we talk to it.
        self._process = subprocess.Popen(
            ["bash", "-c", script, "bash", *command],
            pass_fds=(to_browser, from_browser),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        try:
            targets = self._command("Target.getTargets")["targetInfos"]
            target = next(item["targetId"] for item in targets if item["type"] == "page")
            self._session = ""
            self._session = self._command("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self._command(f"{domain}.enable")
            self.resize(self.width, self.height)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error) -> None:
        """End it and remove its profile."""
        with contextlib.suppress(BrowserError, OSError):
            self._command("Browser.close", timeout=5, session=False)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for descriptor in (self._in, self._out):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        shutil.rmtree(self._profile, ignore_errors=True)

    _session = ""

    def _command(self, method: str, timeout: float = 30, session: bool = True, **params):
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": params}
        if session and self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + timeout
        while True:
            answer = self._next(deadline, method)
            if answer.get("id") == number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def _next(self, deadline: float, what: str) -> dict:
        while b"\0" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._in], [], [], left)[0]:
                raise BrowserError(f"waited for the browser: {what}")
            data = os.read(self._in, 1 << 20)
            if not data:
                raise BrowserError("the browser ended")
            self._buffer += data
        text, _mark, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(text)
        self._event(message.get("method", ""), message.get("params", {}))
        return message

    def _event(self, method: str, params: dict) -> None:
        if method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.messages.append(" ".join(str(item.get("value", item.get("description", ""))) for item in params["args"]))
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.messages.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.messages.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Page.loadEventFired":
            self._loaded = True

    def resize(self, width: int, height: int, scale: float = 1, mobile: bool = False) -> None:
        """Give the page another size."""
        self._command("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=mobile)

    def media(self, **features: str) -> None:
        """Pretend what the user prefers: `media(prefers_color_scheme="dark")`."""
        values = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self._command("Emulation.setEmulatedMedia", features=values)

    def take_any_certificate(self) -> None:
        """Open pages over TLS whichever authority signed for them."""
        self._command("Security.setIgnoreCertificateErrors", ignore=True)

    def open(self, url: str, timeout: float = 30) -> None:
        """Go to an address and wait until it is loaded."""
        self._loaded = False
        answer = self._command("Page.navigate", timeout=timeout, url=url)
        if answer.get("errorText"):
            raise BrowserError(f"{url.partition('?')[0]}: {answer['errorText']}")
        deadline = time.monotonic() + timeout
        while not self._loaded:
            self._next(deadline, "the page to be loaded")

    def evaluate(self, expression: str, frame: str = ""):
        """The value of an expression in the page (a promise is waited for), or in its frame whose address contains a text."""
        where = {"contextId": self._world_of(frame)} if frame else {}
        answer = self._command("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, **where)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise BrowserError(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")

    def _world_of(self, address: str) -> int:
        """A context in a frame, of another origin too, as long as it is of the same site."""
        left = [self._command("Page.getFrameTree")["frameTree"]]
        while left:
            tree = left.pop()
            if address in tree["frame"]["url"]:
                return self._command("Page.createIsolatedWorld", frameId=tree["frame"]["id"])["executionContextId"]
            left += tree.get("childFrames", ())
        raise BrowserError(f"there is no frame of {address}")

    def wait(self, expression: str, what: str, timeout: float = 30, frame: str = ""):
        """The first true value of an expression."""
        deadline = time.monotonic() + timeout
        while not (value := self.evaluate(expression, frame)):
            if time.monotonic() > deadline:
                raise BrowserError(f"waited {timeout:.0f} s for {what}")
            time.sleep(0.25)
        return value

    def screenshot(self, path: str | Path, whole: bool = False) -> None:
        """Write a picture of the page, or of its whole length."""
        data = self._command("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        if whole:
            size = self._command("Page.getLayoutMetrics")["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
            data = self._command("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)["data"]
        Path(path).write_bytes(base64.b64decode(data))
