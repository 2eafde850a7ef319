"""A real browser for end-to-end tests, through WebDriver. Standard library only.

Needs chromium and chromedriver; `scripts/setup.sh --test` installs them. Scripts end with 77 without them.
"""

import base64
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--ignore-certificate-errors",
    "--disable-background-timer-throttling", "--disable-renderer-backgrounding",
]
KEYS = {"right": "\ue014", "left": "\ue012", "down": "\ue015", "up": "\ue013", "backspace": "\ue003", "enter": "\ue007",
        "escape": "\ue00c", "tab": "\ue004", "space": " "}


def needed() -> None:
    if not (shutil.which("chromedriver") and (shutil.which("chromium") or shutil.which("google-chrome"))):
        print("skipped: no chromium or chromedriver; `scripts/setup.sh --test` installs them")
        sys.exit(77)


class Browser:
    """A browser with a profile of its own."""

    def __init__(self, width: int, height: int, dark: bool = False, network: bool = False, flags=()):
        self.driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        port = None
        for line in self.driver.stdout:
            if "started successfully on port" in line:
                port = line.rsplit(" ", 1)[1].strip(" .\n")
                break
        self.base = f"http://127.0.0.1:{port}"
        self.profile = tempfile.mkdtemp()
        flags = [*FLAGS, *flags, f"--user-data-dir={self.profile}", f"--window-size={width},{height}"]
        options = {"args": flags + (["--force-dark-mode", "--blink-settings=preferredColorScheme=0"] if dark else [])}
        reply = self.call("POST", "/session", {"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"} | ({"performance": "ALL"} if network else {})}}})
        self.base += f"/session/{reply['sessionId']}"

    def call(self, method: str, path: str, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data=data, method=method)
        request.add_header("content-type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return json.load(reply)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from error

    def devtools(self, command: str, **parameters):
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def phone(self, width: int = 390, height: int = 844, slow: int = 1) -> None:
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2, mobile=True)
        self.devtools("Emulation.setTouchEmulationEnabled", enabled=True)
        self.devtools("Emulation.setCPUThrottlingRate", rate=slow)

    def offline(self, offline: bool) -> None:
        self.devtools("Network.enable")
        self.devtools("Network.emulateNetworkConditions", offline=offline, latency=0, downloadThroughput=-1, uploadThroughput=-1)

    def open(self, url: str) -> None:
        self.call("POST", "/url", {"url": url})

    def run(self, script: str, *arguments):
        return self.call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def run_async(self, script: str):
        return self.call("POST", "/execute/async", {"script": script, "args": []})

    def wait(self, condition: str, what: str, seconds: float = 20):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            value = self.run(f"return {condition}")
            if value:
                return value
            time.sleep(0.05)
        raise AssertionError(f"waited in vain for {what}: {condition}\n{self.errors()}")

    def press(self, *keys: str) -> None:
        actions = []
        for key in keys:
            actions += [{"type": "keyDown", "value": KEYS.get(key, key)}, {"type": "keyUp", "value": KEYS.get(key, key)}]
        self.call("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def middle(self, selector: str):
        return self.run("const r = document.querySelector(arguments[0]).getBoundingClientRect();"
                        "return [Math.round(r.x + r.width / 2), Math.round(r.y + r.height / 2)]", selector)

    def swipe(self, dx: int, dy: int = 0, selector: str = ".card.top", milliseconds: int = 150) -> None:
        time.sleep(0.35)  # a card that springs back is where it was
        x, y = self.middle(selector)
        moves = [{"type": "pointerMove", "x": x, "y": y, "duration": 0}, {"type": "pointerDown", "button": 0}]
        moves += [{"type": "pointerMove", "x": x + dx * i // 5, "y": y + dy * i // 5, "duration": milliseconds // 5} for i in range(1, 6)]
        moves += [{"type": "pointerUp", "button": 0}]
        kind = {"type": "pointer", "id": "finger", "parameters": {"pointerType": "touch"}, "actions": moves}
        self.call("POST", "/actions", {"actions": [kind]})

    def pinch(self, selector: str, apart: int) -> None:
        x, y = self.middle(selector)
        fingers = []
        for name, side in (("one", -1), ("two", 1)):
            moves = [{"type": "pointerMove", "x": x + side * 30, "y": y, "duration": 0}, {"type": "pointerDown", "button": 0}]
            moves += [{"type": "pointerMove", "x": x + side * (30 + apart * i // 4), "y": y, "duration": 40} for i in range(1, 5)]
            moves += [{"type": "pointerUp", "button": 0}]
            fingers.append({"type": "pointer", "id": name, "parameters": {"pointerType": "touch"}, "actions": moves})
        self.call("POST", "/actions", {"actions": fingers})

    def click(self, selector: str) -> None:
        self.run("document.querySelector(arguments[0]).click()", selector)

    def errors(self) -> list:
        log = self.call("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in log if entry["level"] == "SEVERE"]

    def requested(self) -> list:
        """The addresses that were asked for since the last call; of a browser with `network`."""
        log = [json.loads(entry["message"])["message"] for entry in self.call("POST", "/se/log", {"type": "performance"})]
        return [entry["params"]["request"]["url"] for entry in log if entry["method"] == "Network.requestWillBeSent"]

    def save(self, path: pathlib.Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(self.call("GET", "/screenshot")))

    def close(self) -> None:
        try:
            self.call("DELETE", "")
        except (AssertionError, OSError):
            pass
        self.driver.terminate()
        self.driver.wait()
        shutil.rmtree(self.profile, ignore_errors=True)
