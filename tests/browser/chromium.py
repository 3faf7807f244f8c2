"""A headless Chromium, driven over the DevTools protocol through a pair of pipes: no port and no package needed."""

from __future__ import annotations

import base64
import fcntl
import io
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from typing import Any

import numpy as np
from PIL import Image

PROGRAM = shutil.which("chromium")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-quic", "--disable-background-networking", "--no-first-run"),
    *("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--hide-scrollbars", "--disable-dev-shm-usage"),
    *("--force-color-profile=srgb", "--remote-debugging-pipe"),
)
PATIENCE = 90  # seconds: software WebGL on a busy machine


class Chromium:
    """One browser, with one page at a time."""

    def __init__(self) -> None:
        assert PROGRAM is not None
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        ours, theirs = os.pipe(), os.pipe()
        self._write, self._read = ours[1], theirs[0]
        # Chromium reads commands from 3 and answers on 4; numbers of 10 and more are not in the way of those
        ends = [fcntl.fcntl(ours[0], fcntl.F_DUPFD, 10), fcntl.fcntl(theirs[1], fcntl.F_DUPFD, 10)]
        shell = f'exec "$@" 3<&{ends[0]} 4>&{ends[1]} {ends[0]}<&- {ends[1]}>&-'
        program = ["bash", "-c", shell, "-", PROGRAM, *FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"]
        # in a group of its own, as Debian's program is a script that starts others
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(program, pass_fds=ends, start_new_session=True, **quiet)
        for end in (ours[0], theirs[1], *ends):
            os.close(end)
        self._buffer, self._number, self._session = b"", 0, ""
        self.events: list[dict[str, Any]] = []

    def close(self) -> None:
        try:
            self._session = ""
            self.call("Browser.close")
            self._process.wait(20)
        except (OSError, subprocess.TimeoutExpired, TimeoutError):
            os.killpg(self._process.pid, 9)
            self._process.wait()
        for end in (self._write, self._read):
            os.close(end)
        self._profile.cleanup()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command and its answer; events that come meanwhile are kept in `events`."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        while True:
            answer = self._receive(PATIENCE)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self.events.append(answer)

    def _receive(self, seconds: float) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while b"\0" not in self._buffer:
            if not select.select([self._read], [], [], max(end - time.monotonic(), 0))[0]:
                raise TimeoutError(f"Chromium did not answer within {seconds} s")
            data = os.read(self._read, 1 << 20)
            if not data:
                raise OSError("Chromium has ended")
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def open(self, url: str, width: int, height: int, ratio: float = 1, before: str = "") -> None:
        """A fresh page, in which the script `before` runs ahead of its own; returns when all of it is there."""
        self.close_page()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.events.clear()
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.resize(width, height, ratio)
        self.call("Page.addScriptToEvaluateOnNewDocument", source=before)
        self.call("Page.navigate", url=url)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._receive(PATIENCE))

    def close_page(self) -> None:
        if self._session:
            self.call("Page.close")
            self._session = ""

    def resize(self, width: int, height: int, ratio: float = 1) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": ratio, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression, awaited if it is a promise."""
        options = {"awaitPromise": True, "returnByValue": True}
        result = self.call("Runtime.evaluate", expression=script, **options)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"]["exception"].get("description", script))
        return result["result"].get("value")

    def picture(self) -> np.ndarray:
        """What is on the screen, [H, W, 3] from 0 to 1."""
        data = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) / 255

    def key(self, name: str) -> None:
        text = {"text": name} if len(name) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=name, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=name)

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def complaints(self) -> list[str]:
        """Errors and warnings of the console, exceptions, and requests that failed or went elsewhere."""
        self.run("new Promise((resolve) => setTimeout(resolve, 50))")
        found = []
        for event in self.events:
            method, of = event.get("method", ""), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                found.append(of["exceptionDetails"].get("exception", {}).get("description", "exception"))
            if method == "Runtime.consoleAPICalled" and of["type"] in ("error", "warning", "assert"):
                found.append(" ".join(str(argument.get("value")) for argument in of["args"]))
            if method == "Log.entryAdded" and of["entry"]["level"] in ("error", "warning"):
                found.append(of["entry"]["text"])
            if method == "Network.loadingFailed":
                found.append(f"request failed: {of['errorText']}")
        return found

    def requests(self) -> list[str]:
        """Addresses that the page has asked for."""
        sent = [event["params"] for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        return [of["request"]["url"] for of in sent]
