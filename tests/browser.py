"""A headless Chromium that tests drive over its DevTools protocol, by two pipes: it needs no package."""

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
# nothing that a browser does by itself: no first start, no updates, no look at what it may fetch
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-default-apps", "--hide-scrollbars",
    "--disable-dev-shm-usage", "--window-size=1400,900",
)  # fmt: skip

PATIENCE = 60  # seconds


def program():
    """Path of a Chromium, None where there is none."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Browser:
    """One page of a Chromium: what it loads and says is kept in `requests` and `messages`.

    folder : where the browser keeps what it must, empty.   Chromium reads commands from its file 3 and writes answers
    and events to its file 4, as JSON that ends with a zero (--remote-debugging-pipe).
    """

    def __init__(self, folder):
        theirs_in, self.to = os.pipe()
        self.answers, theirs_out = os.pipe()
        # Python hands files down under their own numbers only; bash renames them
        command = ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "bash", program(), *QUIET]
        command += ["--remote-debugging-pipe", f"--user-data-dir={folder}", "about:blank"]
        with Path(folder, "chromium.log").open("wb") as log:
            self.process = subprocess.Popen(
                command,
                pass_fds=(theirs_in, theirs_out),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        os.close(theirs_in)
        os.close(theirs_out)
        self.unread, self.n_sent, self.session = b"", 0, None
        self.requests, self.messages, self.contexts = [], [], {}
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def close(self):
        """End the browser and all processes that it started."""
        os.close(self.to)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self.answers)

    def send(self, method, **params):
        """Result of a command."""
        self.n_sent += 1
        command = {"id": self.n_sent, "method": method, "params": params}
        if self.session:
            command["sessionId"] = self.session
        os.write(self.to, json.dumps(command).encode() + b"\0")
        while True:
            said = self._read()
            if said.get("id") == self.n_sent:
                assert "error" not in said, said["error"]
                return said["result"]
            self._note(said.get("method"), said.get("params"))

    def _read(self):
        while b"\0" not in self.unread:
            assert select.select([self.answers], [], [], PATIENCE)[0], f"the browser says nothing for {PATIENCE} s"
            part = os.read(self.answers, 1 << 16)
            assert part, "the browser has ended"
            self.unread += part
        said, _, self.unread = self.unread.partition(b"\0")
        return json.loads(said)

    def _note(self, event, params):
        if event == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif event == "Network.loadingFailed":
            self.messages.append(("failed", params["errorText"]))
        elif event == "Runtime.consoleAPICalled":
            said = " ".join(str(part.get("value", part.get("description"))) for part in params["args"])
            self.messages.append((params["type"], said))
        elif event == "Runtime.exceptionThrown":
            self.messages.append(("error", json.dumps(params["exceptionDetails"])))
        elif event == "Log.entryAdded":
            self.messages.append((params["entry"]["level"], params["entry"]["text"]))
        elif event == "Runtime.executionContextCreated":
            context = params["context"]
            self.contexts[context["auxData"]["frameId"]] = context["id"]

    def open(self, path):
        """Load a file."""
        self.send("Page.navigate", url=Path(path).resolve().as_uri())
        self.wait("document.readyState === 'complete'")

    def value(self, expression, *, inside=False):
        """Value of an expression of JavaScript in the page, or inside the frame that it shows."""
        params = {}
        if inside:
            frames = self.send("Page.getFrameTree")["frameTree"].get("childFrames", [])
            contexts = [self.contexts.get(frame["frame"]["id"]) for frame in frames]
            if contexts in ([], [None]):
                return None  # as long as it loads
            (params["contextId"],) = contexts
        found = self.send("Runtime.evaluate", expression=expression, returnByValue=True, **params)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, expression, *, inside=False, seconds=20):
        """First true value of an expression."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = self.value(expression, inside=inside)
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"waited {seconds} s for {expression}; the page says {self.messages}")

    def save_picture(self, path):
        """Write a PNG of what is seen."""
        Path(path).write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))
