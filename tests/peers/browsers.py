"""Browsers as clients: a page that does what the harness says, over XHR."""

import http.server
import itertools
import json
import os
import queue
import tempfile
import threading
import urllib.parse

import certificates
from procs import HERE, PATIENCE, WORK, Failure, Proc

# Chromium without a window, and without whatever it would ask the world.
CHROMIUM = (
    "chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-extensions --disable-dev-shm-usage --disable-breakpad "
    "--no-proxy-server --password-store=basic"
).split()

_mailboxes = {}  # name of the peer -> Browser


class _Pages(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, kind, body):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def browser(self):
        return _mailboxes.get(urllib.parse.urlsplit(self.path).query)

    def do_GET(self):
        path = urllib.parse.urlsplit(self.path).path
        if path == "/page":
            with open(os.path.join(HERE, "page.html"), "rb") as f:
                self.answer(200, "text/html; charset=utf-8", f.read())
        elif path == "/next" and self.browser():
            self.answer(200, "application/json", json.dumps(self.browser().orders()).encode())
        else:
            self.answer(404, "text/plain", b"")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.browser():
            self.answer(404, "text/plain", b"")
            return
        for socket, event, more in json.loads(body):
            self.browser().heard(socket, event, more)
        self.answer(200, "text/plain", b"")

    def log_message(self, *_):
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass  # a browser that ends while it polls is no news


class Pages:
    def __init__(self):
        self.server = _Server(("127.0.0.1", 0), _Pages)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, name):
        return f"http://127.0.0.1:{self.server.server_address[1]}/page?{name}"


class Browser:
    has_codes = True

    def __init__(self, pages, name, title, argv, env=None):
        self.title = title
        self._orders = queue.Queue()
        self._events = {0: queue.Queue()}
        self._ids = itertools.count(1)
        _mailboxes[name] = self
        self.proc = Proc(title, argv + [pages.url(name)], env, stdin=False)
        try:
            self.agent = self.event(0)[1]
        except Failure as e:
            self.proc.stop()
            raise Failure(f"{title} does not load the page: {e}")

    def orders(self):
        """What to do next; empty after a while, so that no request stays open for ever."""
        found = []
        try:
            found.append(self._orders.get(timeout=PATIENCE))
            while True:
                found.append(self._orders.get_nowait())
        except queue.Empty:
            return found

    def heard(self, socket, event, more):
        self._events[socket].put((event, more))

    def event(self, socket):
        try:
            return self._events[socket].get(timeout=PATIENCE)
        except queue.Empty:
            raise Failure(f"{self.title} says nothing for {PATIENCE:.0f} s{self.proc.talk()}")

    def order(self, socket, verb, more=""):
        self._orders.put([socket, verb, more])

    def open(self, port, path="/", protocols=None, scheme="ws"):
        socket = next(self._ids)
        self._events[socket] = queue.Queue()
        self.order(socket, "open", [f"{scheme}://127.0.0.1:{port}{path}", protocols])
        return BrowserSocket(self, socket)


class BrowserSocket:
    def __init__(self, browser, number):
        self.browser, self.number = browser, number

    def next(self):
        event, more = self.browser.event(self.number)
        return event, bytes.fromhex(more) if event == "binary" else more

    def text(self, message):
        self.browser.order(self.number, "text", message)

    def binary(self, octets):
        self.browser.order(self.number, "binary", octets.hex())

    def close(self, code=1000, reason=""):
        self.browser.order(self.number, "close", [code, reason])

    def done(self):
        self.close()


def trusting():
    """How Chromium is told of our certificates."""
    return "--ignore-certificate-errors-spki-list=" + ",".join(c.spki for c in (certificates.rsa(), certificates.ecdsa()))


def chromium(pages):
    profile = tempfile.mkdtemp(prefix="chromium-", dir=WORK)
    return Browser(pages, "chromium", "Chromium", [*CHROMIUM, trusting(), f"--user-data-dir={profile}"])


def phantom(folder, setting):
    """PhantomJS trusts what lies in /etc/ssl/certs and nothing else where it opens a WebSocket: it sees ours there, and
    no other program does."""
    mount = 'mount --bind "$1" /etc/ssl/certs && shift && exec "$@"'
    program = [os.path.join(folder, "phantomjs"), os.path.join(HERE, "phantom.js")]
    return ["unshare", "--mount", "sh", "-c", mount, "sh", certificates.roots(), "env", setting, *program]


def phantomjs(pages, folder):
    return Browser(pages, "phantomjs", "PhantomJS", phantom(folder, f"LD_LIBRARY_PATH={os.path.join(folder, 'lib')}"))


def phantomjs2(pages, folder):
    """It looks for OpenSSL's settings and does not understand those of today."""
    return Browser(pages, "phantomjs2", "PhantomJS 2", phantom(folder, "OPENSSL_CONF=/dev/null"))
