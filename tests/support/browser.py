"""A headless Chromium that tests control over the DevTools protocol through two pipes, without a package."""

import json
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")

# no first-run dialog, no updates and no background requests
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-default-apps", "--hide-scrollbars",
    "--disable-dev-shm-usage", "--window-size=1400,900",
)  # fmt: skip

# seconds without an answer after which the browser has failed
TIMEOUT = 60


def program():
    """Return the path of a Chromium, or None if there is none."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Browser:
    """One page of a Chromium, with the URLs that it requests and the messages of its console.

    Chromium reads commands from file descriptor 3 and writes answers and events to file descriptor 4, as JSON that ends
    with a zero byte (--remote-debugging-pipe).

    Parameters
    ----------
    folder : path-like
        Empty folder for the files of the browser.

    Attributes
    ----------
    requests : list of str
        Requested URLs.
    messages : list of (str, str)
        Kind and text of messages and errors.
    """

    def __init__(self, folder):
        commands_in, self.commands = os.pipe()
        self.answers, answers_out = os.pipe()
        # Python passes file descriptors with their own numbers only; bash duplicates them
        command = ["bash", "-c", f'exec "$@" 3<&{commands_in} 4>&{answers_out}', "bash", program(), *OPTIONS]
        command += ["--remote-debugging-pipe", f"--user-data-dir={folder}", "about:blank"]
        with Path(folder, "chromium.log").open("wb") as log:
            self.process = subprocess.Popen(
                command,
                pass_fds=(commands_in, answers_out),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        os.close(commands_in)
        os.close(answers_out)
        self.unread, self.n_sent, self.session = b"", 0, None
        self.requests, self.messages, self.contexts = [], [], {}
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def close(self):
        """Stop the browser and all processes that it started."""
        os.close(self.commands)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self.answers)

    def send(self, method, **params):
        """Send a command and return its result."""
        self.n_sent += 1
        command = {"id": self.n_sent, "method": method, "params": params}
        if self.session:
            command["sessionId"] = self.session
        os.write(self.commands, json.dumps(command).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self.n_sent:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            self._record(answer.get("method"), answer.get("params"))

    def _read(self):
        while b"\0" not in self.unread:
            assert select.select([self.answers], [], [], TIMEOUT)[0], f"the browser did not answer for {TIMEOUT} s"
            part = os.read(self.answers, 1 << 16)
            assert part, "the browser has ended"
            self.unread += part
        answer, _, self.unread = self.unread.partition(b"\0")
        return json.loads(answer)

    def _record(self, event, params):
        if event == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif event == "Network.loadingFailed":
            self.messages.append(("failed", params["errorText"]))
        elif event == "Runtime.consoleAPICalled":
            text = " ".join(str(part.get("value", part.get("description"))) for part in params["args"])
            self.messages.append((params["type"], text))
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
        """Return the value of a JavaScript expression in the page, or inside the frame in the page."""
        params = {}
        if inside:
            frames = self.send("Page.getFrameTree")["frameTree"].get("childFrames", [])
            contexts = [self.contexts.get(frame["frame"]["id"]) for frame in frames]
            if contexts in ([], [None]):
                return None  # the frame is loading
            (params["contextId"],) = contexts
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, **params)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, expression, *, inside=False, seconds=20):
        """Evaluate a JavaScript expression until it is true, and return its value."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            value = self.value(expression, inside=inside)
            if value:
                return value
            time.sleep(0.05)
        raise AssertionError(f"waited {seconds} s for {expression}; messages of the page: {self.messages}")
