"""Headless Chromium through its debugging pipe: opens a page, presses keys, listens to faults."""

# SPDX-License-Identifier: GPL-3.0-or-later
import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--disable-dev-shm-usage",
    "--enable-unsafe-swiftshader",
    "--remote-debugging-pipe",
)
PATIENCE = 300  # seconds


def find_chromium():
    """Path of an installed Chromium, or None."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Browser:
    """One page in a headless Chromium.

    `faults` holds console errors, exceptions and whatever violates the page's own policy;
    `requests` every address that was asked for.
    """

    def __init__(self, folder, *options):
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()

        def arrange():  # what Chromium reads from is number 3, what it writes to number 4
            reading, writing = os.dup(theirs_in), os.dup(theirs_out)
            low = [os.dup(reading), os.dup(writing)]  # out of the way of 3 and 4
            os.dup2(low[0], 3)
            os.dup2(low[1], 4)

        for handle in (theirs_in, theirs_out):
            os.set_inheritable(handle, True)
        self.process = subprocess.Popen(
            [
                find_chromium(),
                *OPTIONS,
                *options,
                "--user-data-dir=%s" % Path(folder, "profile"),
                "about:blank",
            ],
            preexec_fn=arrange,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._read, self._write, self._rest = ours_in, ours_out, b""
        self._numbers, self._session = itertools.count(1), None
        self.faults, self.requests, self._loaded = [], [], False
        target = next(
            t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page"
        )
        self._session = self.call(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(domain + ".enable")

    def call(self, method, **values):
        """Ask for something and wait for the answer."""
        number = next(self._numbers)
        message = dict(id=number, method=method, params=values)
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]

    def open(self, path, width=1280, height=900):
        """Load a file and wait until its programs have drawn."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.faults, self.requests, self._loaded = [], [], False
        self.call("Page.navigate", url=Path(path).resolve().as_uri())
        end = time.monotonic() + PATIENCE
        while not self._loaded and time.monotonic() < end:
            self._next()
        self.settle()

    def settle(self):
        """Wait until what was asked for is drawn."""
        self.value(
            "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => "
            "setTimeout(() => done(1), 60))))"
        )

    def value(self, expression):
        """Value of an expression in the page."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key, code=0, text=""):
        """One key, down and up."""
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
                **(dict(text=text) if text and kind == "keyDown" else {}),
            )

    def mouse(self, kind, x, y, down=True):
        """Move or press the mouse: "mousePressed", "mouseMoved" or "mouseReleased"."""
        self.call(
            "Input.dispatchMouseEvent",
            type=kind,
            x=x,
            y=y,
            button="left",
            buttons=int(down),
            clickCount=1,
        )

    def picture(self, path, whole=True):
        """Save the page as PNG."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        Path(path).write_bytes(base64.b64decode(data["data"]))

    def close(self):
        """End the browser and all of its own processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for handle in (self._read, self._write):
            os.close(handle)

    def _next(self):
        """The next message; events are noted."""
        end = time.monotonic() + PATIENCE
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(0, end - time.monotonic()))
            block = os.read(self._read, 1 << 20) if ready else b""
            if not block:
                raise TimeoutError("Chromium does not answer.")
            self._rest += block
        text, self._rest = self._rest.split(b"\0", 1)
        message = json.loads(text)
        event, values = message.get("method"), message.get("params", {})
        if event == "Runtime.exceptionThrown":
            self.faults.append(str(values["exceptionDetails"]))
        elif event == "Runtime.consoleAPICalled" and values["type"] in ("error", "warning"):
            self.faults.append(str(values["args"]))
        elif event == "Log.entryAdded" and values["entry"]["level"] == "error":
            self.faults.append(values["entry"]["text"])
        elif event == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])
        elif event == "Page.loadEventFired":
            self._loaded = True
        return message
