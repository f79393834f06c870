"""The few WebDriver commands that the page test needs, spoken to Debian's chromedriver."""

import base64
import http.client
import json
import shutil
import subprocess
import tempfile
import time

# Root has no sandbox, and the rest keeps Chromium from asking the network for anything.
CHROMIUM_FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --disable-dev-shm-usage
    --no-first-run --disable-background-networking --disable-component-update --disable-sync""".split()
START_SECONDS = 30
# It takes a free port of IPv4 and ends if the same port of IPv6 is in use, which others just had.
STARTS = 5
ELEMENT_KEY = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    def __init__(self, flags=()):
        self.profile = tempfile.mkdtemp(prefix="wireloop-page-")
        port = None
        for _ in range(STARTS):
            self.driver = subprocess.Popen(
                ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            if port := self._port():
                break
            self.driver.wait()
        try:
            self._start(port, [*CHROMIUM_FLAGS, f"--user-data-dir={self.profile}", *flags])
        except BaseException:
            self.close()
            raise

    def _port(self):
        for line in self.driver.stdout:
            if "started successfully on port" in line:
                return int(line.rstrip().rstrip(".").rsplit(" ", 1)[1])
        return None

    def _start(self, port, flags):
        if port is None:
            raise RuntimeError("chromedriver did not start")
        self.http = http.client.HTTPConnection("127.0.0.1", port, timeout=START_SECONDS)
        options = {"args": flags, "binary": shutil.which("chromium")}
        wanted = {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "WARNING"},
            "unhandledPromptBehavior": "ignore",
        }
        self.path = ""
        self.path = "/session/" + self.command("POST", "/session", capabilities={"alwaysMatch": wanted})["sessionId"]

    def command(self, method, path, **arguments):
        body = json.dumps(arguments) if method == "POST" else None
        self.http.request(method, self.path + path, body)
        value = json.load(self.http.getresponse())["value"]
        if isinstance(value, dict) and "error" in value:
            raise RuntimeError(f"{path}: {value['error']}: {value['message'].splitlines()[0]}")
        return value

    def open(self, url):
        self.command("POST", "/url", url=url)

    def devtools(self, name, **arguments):
        """A command of Chromium's own protocol."""
        return self.command("POST", "/goog/cdp/execute", cmd=name, params=arguments)

    def script(self, text, *arguments):
        return self.command("POST", "/execute/sync", script=text, args=arguments)

    def complaints(self):
        """What the browser's console warned of: script errors, blocked or missing resources."""
        return [entry["message"] for entry in self.command("POST", "/se/log", type="browser")]

    def screenshot(self):
        return base64.b64decode(self.command("GET", "/screenshot"))

    def element(self, selector):
        found = self.command("POST", "/element", using="css selector", value=selector)
        return "/element/" + found[ELEMENT_KEY]

    def click(self, selector):
        self.command("POST", self.element(selector) + "/click")

    def clear(self, selector):
        self.command("POST", self.element(selector) + "/clear")

    def type(self, selector, text):
        if max(text) > "\uffff":
            # ChromeDriver types characters of the Basic Multilingual Plane only.
            self.script("document.querySelector(arguments[0]).focus()", selector)
            self.devtools("Input.insertText", text=text)
            return
        self.command("POST", self.element(selector) + "/value", text=text)

    def alert_is_open(self):
        try:
            self.command("GET", "/alert/text")
        except RuntimeError as error:
            if "no such alert" in str(error):
                return False
            raise
        return True

    def wait(self, what, seconds, text, *arguments):
        """Polls the script until it returns something true, and returns that."""
        deadline = time.monotonic() + seconds
        while not (value := self.script(text, *arguments)):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds} s: {what}")
            time.sleep(0.02)
        return value

    def close(self):
        try:
            if getattr(self, "path", ""):
                self.command("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.wait()
            shutil.rmtree(self.profile, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
