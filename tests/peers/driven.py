"""Browsers that are driven from outside: a page of the program is opened, read and pressed as it is."""

import base64
import http.client
import itertools
import json
import os
import tempfile
import time

from asks import require
from browsers import CHROMIUM, trusting
from procs import HERE, PATIENCE, WORK, Failure, Proc
from proxies import free_port


class Driven:
    """A page; each browser has its own `open`, `value`, `key`, `write`, `size`, `shot` and `errors`."""

    def wait(self, script, what, patience=PATIENCE):
        """Until the expression is true; its value."""
        until = time.monotonic() + patience
        while True:
            value = self.value(script)
            if value:
                return value
            require(time.monotonic() < until, f"{self.title}, after {patience:.0f} s: no {what}")
            time.sleep(0.03)

    def text(self, name):
        """The words of the element with this id."""
        return self.value(f"document.getElementById({json.dumps(name)}).textContent")

    def texts(self, selector):
        """The words of each such element."""
        return self.value(
            f"Array.prototype.map.call(document.querySelectorAll({json.dumps(selector)}), "
            "function (one) { return one.textContent; })"
        )

    def disabled(self, name):
        return self.value(f"document.getElementById({json.dumps(name)}).disabled")

    def press(self, name):
        """A click; what cannot be pressed is not."""
        require(not self.disabled(name), f"{self.title}: {name} cannot be pressed")
        self.value(f"document.getElementById({json.dumps(name)}).click()")


class OldPage(Driven):
    """PhantomJS; see lab.js."""

    title = "PhantomJS"

    def __init__(self, folder):
        port = free_port()
        argv = [os.path.join(folder, "phantomjs"), os.path.join(HERE, "lab.js"), str(port)]
        self.proc = Proc("PhantomJS", argv, {"LD_LIBRARY_PATH": os.path.join(folder, "lib")}, stdin=False)
        self.port = port
        line = self.proc.line()
        require(line == b"ready", f"PhantomJS says {line!r}{self.proc.talk()}")

    def order(self, verb, more=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("POST", "/", json.dumps([verb, more]), {"Content-Type": "application/json"})
            return json.loads(connection.getresponse().read())
        except http.client.HTTPException as e:
            raise Failure(f"PhantomJS does not answer: {e!r}{self.proc.talk()}")
        finally:
            connection.close()

    def open(self, url):
        status = self.order("open", url)
        require(status == "success", f"PhantomJS opens {url}: {status}")

    def value(self, script):
        return self.order("value", script)

    def key(self, name):
        self.order("key", name)

    def size(self, width, height):
        self.order("size", {"width": width, "height": height})

    def write(self, words):
        self.order("write", words)

    def shot(self, path, whole=False):
        self.order("shot", {"path": path, "whole": whole})

    def errors(self):
        return self.order("errors")

    def leave(self):
        self.open("about:blank")

    def close(self):
        self.proc.stop()


class Chromium(Proc):
    """One Chromium, asked over the pipe of its DevTools protocol."""

    def __init__(self):
        profile = tempfile.mkdtemp(prefix="chromium-", dir=WORK)
        flags = [*CHROMIUM, trusting(), "--hide-scrollbars", "--remote-debugging-pipe", f"--user-data-dir={profile}"]
        # It reads descriptor 3 and writes 4.
        argv = ["sh", "-c", 'exec "$@" 3<&0 4>&1 </dev/null >&2', "sh", *flags, "about:blank"]
        self.ids = itertools.count(1)
        self.pages = {}  # by session
        super().__init__("Chromium", argv)

    def _read(self):
        """Its messages end with a NUL."""
        rest = b""
        while True:
            octets = os.read(self.popen.stdout.fileno(), 1 << 16)
            if not octets:
                break
            *whole, rest = (rest + octets).split(b"\0")
            for message in whole:
                self.lines.put(message)
        self.lines.put(None)

    def ask(self, method, session=None, **more):
        number = next(self.ids)
        message = {"id": number, "method": method, "params": more}
        if session:
            message["sessionId"] = session
        self.write(json.dumps(message).encode() + b"\0")
        while True:
            message = self.hear()
            if message.get("id") == number:
                require("error" not in message, f"Chromium, asked for {method}: {message.get('error')}")
                return message["result"]

    def hear(self):
        line = self.line()
        require(line is not None, f"Chromium ends{self.talk()}")
        message = json.loads(line)
        page = self.pages.get(message.get("sessionId"))
        if page and "method" in message:
            page.heard(message["method"], message["params"])
        return message


KEYS = {
    "Tab": {"code": "Tab", "windowsVirtualKeyCode": 9},
    "Enter": {"code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"},
}


class NewPage(Driven):
    """A tab of Chromium."""

    title = "Chromium"

    def __init__(self, chromium, before=None):
        """`before` is a script that runs before those of the page."""
        self.chromium = chromium
        self.complaints, self.requests, self.logged, self.loaded = [], [], [], False
        self.target = chromium.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = chromium.ask("Target.attachToTarget", targetId=self.target, flatten=True)["sessionId"]
        chromium.pages[self.session] = self
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(domain + ".enable")
        self.size(1280, 900)
        if before:
            self.ask("Page.addScriptToEvaluateOnNewDocument", source=before)

    def ask(self, method, **more):
        return self.chromium.ask(method, self.session, **more)

    def heard(self, method, more):
        if method == "Page.loadEventFired":
            self.loaded = True
        elif method == "Network.requestWillBeSent":
            self.requests.append(more["request"]["url"])
        elif method == "Network.webSocketCreated":
            self.requests.append(more["url"])
        elif method == "Runtime.exceptionThrown":
            thrown = more["exceptionDetails"]
            self.complaints.append(thrown.get("exception", {}).get("description", thrown["text"]))
        elif method == "Runtime.consoleAPICalled" and more["type"] == "log":
            self.logged.append(" ".join(str(one.get("value")) for one in more["args"]))
        elif method == "Runtime.consoleAPICalled" and more["type"] in ("error", "warning", "assert"):
            self.complaints.append(f"console: {more['args']}")
        elif method == "Log.entryAdded" and more["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{more['entry']['source']}: {more['entry']['text']} {more['entry'].get('url', '')}")

    def open(self, url):
        self.loaded = False
        failed = self.ask("Page.navigate", url=url).get("errorText")
        require(not failed, f"Chromium opens {url}: {failed}")
        while not self.loaded:
            self.chromium.hear()

    def value(self, script):
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        thrown = answer.get("exceptionDetails", {}).get("exception", {}).get("description")
        require("exceptionDetails" not in answer, f"Chromium, asked for {script[:80]}: {thrown}")
        return answer["result"].get("value")

    def key(self, name):
        how = {"key": name, **KEYS[name]}
        self.ask("Input.dispatchKeyEvent", type="keyDown", **how)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **{k: v for k, v in how.items() if k != "text"})

    def write(self, words):
        self.ask("Input.insertText", text=words)

    def point(self, x, y):
        self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def size(self, width, height):
        how = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.ask("Emulation.setDeviceMetricsOverride", **how)

    def scheme(self, name):
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.ask("Emulation.setEmulatedMedia", features=features)

    def shot(self, path, whole=False):
        how = {"format": "png"}
        if whole:
            size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
            how.update(captureBeyondViewport=True, clip={**size, "scale": 1})
        with open(path, "wb") as f:
            f.write(base64.b64decode(self.ask("Page.captureScreenshot", **how)["data"]))

    def pdf(self):
        return base64.b64decode(self.ask("Page.printToPDF", printBackground=True)["data"])

    def errors(self):
        return self.complaints

    def wait_to_log(self, words):
        """Until its console has the line, by console.log."""
        while words not in self.logged:
            self.chromium.hear()

    def scripts(self, run):
        self.ask("Emulation.setScriptExecutionDisabled", value=not run)

    def leave(self):
        """Another page in the same tab would not do: Chromium keeps the one that it left, with its connections."""
        self.close()

    def close(self):
        self.chromium.ask("Target.closeTarget", targetId=self.target)
        self.chromium.pages.pop(self.session, None)
