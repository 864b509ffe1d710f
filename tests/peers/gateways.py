"""Clients through `heirloom gateway` to ws of npm, alone and behind Debian's HAProxy and nginx."""

import base64
import contextlib
import json
import os
import socket

import certificates
from asks import BEYOND_BMP, HELLO, MIB_TEXT, echoes, echoes_binary, expect, opened, require, shortly
from procs import HERE, Heirloom, Proc
from proxies import Debian, free_port, settings, written
from raw import BODY_76, DIGEST_76, HIXIE_75, HIXIE_76, RFC_6455, Raw, header
from scripts import ScriptServer, perl_client
from tap import Tap

ROW_OF_1000 = [f"message {i} \u00e9" for i in range(1000)]
# An address of loopback that is nobody's but the client's.
CLIENT = "127.0.0.5"
FORGED = "203.0.113.9"


class Backend(Proc):
    """ws of npm as an echo server; see backend.js."""

    def __init__(self, folder, certificate=None):
        more = [certificate.path, certificate.key] if certificate else []
        super().__init__("backend.js", ["node", os.path.join(HERE, "backend.js"), folder, *more], stdin=False)
        line = self.line() or b""
        require(line.startswith(b"listening "), f"backend.js says {line!r} instead of where it listens{self.talk()}")
        self.port = int(line.split()[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def ended(self):
        """How it heard the next conversation end."""
        line = self.line() or b""
        require(line == b"open 13", f"the backend says {line!r}, 'open 13' was due")
        return (self.line() or b"").decode()


class Gateway(Heirloom):
    def __init__(self, binary, to, *options, path="/app", port=0, scheme="ws"):
        """`to` is the port of the backend."""
        to = f"{scheme}://127.0.0.1:{to}{path}"
        super().__init__(binary, "--to", to, *options, subcommand="gateway", port=port)


class Way:
    """A backend, a gateway before it, and a proxy before that or none."""

    def __init__(self, name, backend, gateway, port):
        self.name, self.backend, self.gateway, self.port = name, backend, gateway, port

    def watched(self, word, function, *args):
        """One conversation, whose access line has the word; how the backend heard it end."""
        self.backend.forget_lines()
        self.gateway.forget_lines()
        function(*args)
        heard = self.backend.ended()
        line = (self.gateway.line() or b"").decode()
        require(word in line, f"the access line does not name {word}: {line!r}")
        return heard


@contextlib.contextmanager
def ways(binary, debian, node_modules):
    """A client reaches the backend in each of these."""
    found = {}
    with contextlib.ExitStack() as stack:
        for name, options, proxy in (
            ("alone", [], None),
            ("HAProxy tcp", ["--accept-proxy", "127.0.0.1"], debian.haproxy),
            ("nginx stream", ["--accept-proxy", "127.0.0.1"], debian.nginx_stream),
            ("nginx http", ["--accept-forwarded", "127.0.0.1"], debian.nginx_http),
        ):
            backend = stack.enter_context(Backend(node_modules))
            gateway = stack.enter_context(Gateway(binary, backend.port, "--versions", "all", *options))
            port = stack.enter_context(proxy(gateway.port)).port if proxy else gateway.port
            found[name] = Way(name, backend, gateway, port)
        yield found


def backend_head(raw):
    """What the backend was asked, over an open connection of hixie framing."""
    return json.loads(raw.hixie_text("head"))


# Checks of a client on a way.


def connects(client, way, wire):
    tap = Tap(way.port)
    with opened(client, tap.port) as socket:
        require(tap.version() == wire, f"it asks for version {tap.version()}, not {wire}")
        socket.text("head")
        asked = json.loads(expect(socket, "text"))
    require(asked["url"] == "/app", f"the backend is asked for {asked['url']}")
    require(asked["headers"]["x-forwarded-host"] == f"127.0.0.1:{tap.port}", f"the backend is told {asked['headers']}")


def client_closes(client, way, event, code=1000, reason=""):
    tap = Tap(way.port)
    with opened(client, tap.port) as socket:
        socket.text(HELLO)
        expect(socket, "text", HELLO)
        socket.close(code, reason)
        got = expect(socket, "closed")
        require(got.startswith(event), f"closed with {event!r} was due, {got!r} came")
        tap.wait_ended()
    return tap


def closes(client, way, version, event, due):
    heard = way.watched(version, client_closes, client, way, event)
    require(heard == due, f"the client closes, the backend says {heard!r} and not {due!r}")


def closes_with_codes(client, way, version):
    for code, reason in ((1000, ""), (4001, "bye")):
        heard = way.watched(version, client_closes, client, way, f"code {code}", code, reason)
        due = f"closed {code} {reason}".strip()
        require(heard == due, f"the client closes with {code} {reason}, the backend says {heard!r}")


def backend_closes(client, way, event):
    tap = Tap(way.port)
    with opened(client, tap.port) as socket:
        socket.text("close 4001 bye")
        got = expect(socket, "closed")
        require(event is None or got == event, f"closed with {event!r} was due, {got!r} came")
        tap.wait_ended()
    require(tap.ended[0] == "server", f"TCP ends in this order: {tap.ended}")
    if tap.version() == "76":
        require(tap.said("server") == b"\xff\0", f"the client hears {tap.said('server').hex()}")


def closed(client, way, version, event):
    heard = way.watched(version, backend_closes, client, way, event)
    require(heard.startswith("closed 4001"), f"the backend closes with 4001 and then says {heard!r}")


def not_for_its_browsers(way):
    """hixie-75 behind nginx in http mode: the browsers compare the first three lines, which come otherwise."""
    with Raw(way.port) as raw:
        raw.ask(HIXIE_75)
        lines = raw.head().split("\r\n")
        require(lines[0].startswith("HTTP/1.1 101 "), f"the answer begins {lines[0]!r}")
        due = ["Upgrade: WebSocket", "Connection: Upgrade"]
        require(lines[1:3] != due, "nginx leaves the first lines as they are now")
        require(raw.hixie_text(HELLO) == HELLO, "no echo")


def check_client(report, way, peer, client, version, wire, closing, drops):
    """`closing` is what it and the backend report of the close, None where it has codes; `drops` what it reports of 4001."""
    row = report.row(peer, "gateway", version, way.name)
    Heirloom.latest = way.gateway
    if way.name == "nginx http" and version == "hixie-75":
        report.check(row, "connects", way.watched, version, not_for_its_browsers, way, differs=True)
        return
    report.check(row, "connects", way.watched, version, connects, client, way, wire)
    for column, messages in (("text", [HELLO]), ("UTF-8", [BEYOND_BMP]), ("1 MiB", [MIB_TEXT]), ("1000", ROW_OF_1000)):
        report.check(row, column, way.watched, version, echoes, client, way.port, *messages)
    if closing is None:
        report.check(row, "binary", way.watched, version, echoes_binary, client, way.port)
        report.check(row, "closes", closes_with_codes, client, way, version)
    else:
        report.check(row, "closes", closes, client, way, version, *closing)
    report.check(row, "closed", closed, client, way, version, drops)


# What else a gateway is trusted with.


def takes_body(way, late):
    """A Location that its browsers compare, and the proof."""
    with Raw(way.port) as raw:
        raw.ask(HIXIE_76, "/a?b=c", body=b"" if late else BODY_76)
        head = raw.head()
        require(head.startswith("HTTP/1.1 101 "), f"the answer is {head!r}")
        location = header(head, "Sec-WebSocket-Location")
        require(location == f"ws://{raw.host}/a?b=c", f"the location is {location}")
        if late:
            raw.send(BODY_76)
        digest = raw.octets(16)
        require(digest == DIGEST_76, f"the proof is {digest!r}")
        asked = backend_head(raw)
        require(asked["url"] == "/app?b=c", f"the backend is asked for {asked['url']}")


def hears_the_rest(way):
    """A client of hixie-75 that ends its side of TCP is still told what comes."""
    said = b"".join(b"\0%07d\xff" % i for i in range(10000))
    with Raw(way.port) as raw:
        raw.ask(HIXIE_75)
        raw.head()
        raw.send(said)
        raw.socket.shutdown(socket.SHUT_WR)
        heard = raw.rest()
    require(heard == said, f"{len(said)} octets were due, {len(heard)} came")


def asks_from_elsewhere(way):
    with Raw(way.port, CLIENT) as raw:
        raw.ask(HIXIE_76, body=BODY_76)
        raw.head()
        raw.octets(16)
        told = backend_head(raw)["headers"]
    first = told["x-forwarded-for"].split(",")[0].strip()
    require(first == CLIENT, f"X-Forwarded-For is {told['x-forwarded-for']}")
    require(f"for={CLIENT}" in told["forwarded"].replace('"', ""), f"Forwarded is {told['forwarded']}")
    require(told["x-forwarded-host"] == raw.host, f"X-Forwarded-Host is {told['x-forwarded-host']}")
    require(told["origin"] == "http://example.com", f"Origin is {told['origin']}")


def tells_who_asks(way):
    # The access line names it too.
    way.watched(CLIENT, asks_from_elsewhere, way)


def lets_nobody_in(way):
    """Past the proxy, without its header."""
    with Raw(way.gateway.port) as raw:
        raw.ask(HIXIE_76, body=BODY_76)
        answer = raw.rest()
    require(answer.startswith(b"HTTP/1.1 400 ") and b"proxy-header:" in answer, f"the answer is {shortly(answer)}")


def believes_no_client(way):
    with Raw(way.port, CLIENT) as raw:
        more = f"X-Forwarded-For: {FORGED}\r\nForwarded: for={FORGED}\r\nX-Forwarded-Host: {FORGED}\r\n"
        raw.ask(HIXIE_76, more=more, body=BODY_76)
        head = raw.head()
        raw.octets(16)
        told = backend_head(raw)
    require(FORGED not in head, f"the client hears {head!r}")
    require(FORGED not in json.dumps(told), f"the backend is told {told['headers']}")


def is_healthy(way):
    with Raw(way.port) as raw:
        raw.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        head = raw.head()
        require(head.startswith("HTTP/1.1 200 "), f"the answer is {head!r}")


def carries_heads(way, browser, old_browser):
    """Chromium insists on one of the subprotocols that it asked for."""
    browser.order(0, "cookie", "panel=7")
    socket = browser.open(way.port, "/", ["tea", "chat"])
    try:
        expect(socket, "open", "chat")
        socket.text("head")
        told = json.loads(expect(socket, "text"))["headers"]
    finally:
        socket.done()
    require(told.get("cookie") == "panel=7", f"the cookie is {told.get('cookie')}")
    require(told["origin"].startswith("http://127.0.0.1:"), f"the origin is {told['origin']}")
    socket = old_browser.open(way.port, "/", "chat")
    try:
        expect(socket, "open")
        socket.text("head")
        told = json.loads(expect(socket, "text"))["headers"]
    finally:
        socket.done()
    require(told.get("sec-websocket-protocol") == "chat", f"the subprotocol is {told.get('sec-websocket-protocol')}")


def passes_pings(way, browser):
    """The pong is the client's where it has pings, and the gateway's where it has none."""
    with Raw(way.port) as raw:
        raw.ask(RFC_6455)
        raw.head()
        raw.send(b"\x81\x8a\0\0\0\0ping there")
        ping = raw.octets(7)
        require(ping == b"\x89\x05there", f"a ping was due, {ping.hex()} came")
        raw.send(b"\x81\x82\0\0\0\0no")
        answer = raw.octets(4)
        require(answer == b"\x81\x02no", f"the echo was due before our pong, {answer.hex()} came")
        raw.send(b"\x8a\x85\0\0\0\0there")
        answer = raw.octets(12)
        require(answer == b"\x81\x0apong there", f"the backend says {answer!r}")
        raw.send(b"\x89\x82\0\0\0\0up")
        pong = raw.octets(4)
        require(pong == b"\x8a\x02up", f"our own ping is answered with {pong.hex()}")
    for client in (browser, perl_client("draft-ietf-hybi-00")):
        with opened(client, way.port) as socket:
            socket.text("ping there")
            expect(socket, "text", "pong there")


def passes_refusals(way_port):
    for status in (401, 403):
        for head, body in ((RFC_6455, b""), (HIXIE_75, b""), (HIXIE_76, BODY_76)):
            with Raw(way_port) as raw:
                raw.ask(head, f"/?refuse={status}", body=body)
                answer = raw.head()
                require(answer.startswith(f"HTTP/1.1 {status} "), f"{status} was due, the answer is {answer!r}")


def tells_that_nobody_is_there(binary):
    with Gateway(binary, free_port(), "--versions", "all") as gateway:
        for head, body in ((RFC_6455, b""), (HIXIE_75, b""), (HIXIE_76, BODY_76)):
            with Raw(gateway.port) as raw:
                raw.ask(head, body=body)
                answer = raw.head()
                require(answer.startswith("HTTP/1.1 502 "), f"502 was due, the answer is {answer!r}")


def asks_the_path_of_the_client(binary, backend):
    with Gateway(binary, backend.port, path="") as gateway, Raw(gateway.port) as raw:
        raw.ask(HIXIE_76, "/their/own?b=c", body=BODY_76)
        raw.head()
        raw.octets(16)
        asked = backend_head(raw)
        require(asked["url"] == "/their/own?b=c", f"the backend is asked for {asked['url']}")


def converses(client, port, who):
    with opened(client, port, "/panel?key=7") as socket:
        if who == "client":
            socket.close()
        else:
            socket.text("close 4001 bye")
        expect(socket, "closed")


def fields(line, as_json):
    """A line of the text form has the names of the other."""
    if as_json:
        return {name: str(value) for name, value in json.loads(line).items()}
    return dict(word.split("=", 1) for word in line.decode().split() if "=" in word)


def writes_access_lines(binary, backend, browser, options):
    old = perl_client("draft-ietf-hybi-00")
    with Gateway(binary, backend.port, *options) as gateway:
        for client, version, code in ((browser, "rfc6455", "1000"), (old, "hixie-76", None)):
            for who in ("client", "backend"):
                converses(client, gateway.port, who)
                line = gateway.line() or b""
                found = fields(line, bool(options))
                due = {"version": version, "path": "/panel", "backend": f"127.0.0.1:{backend.port}", "by": who}
                due |= {"code": "4001"} if who == "backend" else {"code": code} if code else {}
                got = {name: found.get(name) for name in due}
                require(got == due, f"the access line says {line!r}, due is {due}")
                require(found.get("client", "").startswith("127.0.0.1:"), f"the access line says {line!r}")
        gateway.drain()
        require(gateway.line() is None, "there are more access lines than conversations")


# A backend that speaks an old version.


def dials_old(binary, peer, browser, options, function):
    with ScriptServer(peer, "/usr/bin/perl", "server.pl") as server:
        with Gateway(binary, server.port, "--as", "hixie-76", *options, path="/") as gateway:
            with opened(browser, gateway.port) as socket:
                line = server.line()
                require(line == b"open draft-ietf-hybi-00", f"the server says {line!r}")
                function(socket)
            line = server.line()
            require(line == b"closed ff00", f"the server says {line!r}, not that it heard FF 00")


def converses_with_old(socket):
    for message in (HELLO, BEYOND_BMP, MIB_TEXT):
        socket.text(message)
        expect(socket, "text", message)
    socket.close()
    expect(socket, "closed", "code 1000 clean true")


def has_no_binary(socket):
    socket.binary(b"\0\xff")
    got = expect(socket, "closed")
    require(got.startswith("code 1003 "), f"the client hears {got!r}")


def has_base64(socket):
    socket.binary(b"\0\xff\x80")
    expect(socket, "binary", b"\0\xff\x80")
    socket.close()
    expect(socket, "closed", "code 1000 clean true")


def says_base64(binary, backend, browser):
    """The side without binary messages says and hears base64; who has them is left alone."""
    with Gateway(binary, backend.port, "--binary", "base64") as gateway:
        with opened(perl_client("draft-ietf-hybi-00"), gateway.port) as socket:
            # As a text "head" would be an order.
            for message in (b"\0\xff\x80", b"head"):
                said = base64.b64encode(message).decode()
                socket.text(said)
                expect(socket, "text", said)
            socket.text("no base64")
            expect(socket, "closed", "ff00")
        with opened(browser, gateway.port) as socket:
            socket.text(HELLO)
            expect(socket, "text", HELLO)
            socket.binary(b"\0\xff\x80")
            expect(socket, "binary", b"\0\xff\x80")


def connects_to_old(binary, peer):
    with ScriptServer(peer, "/usr/bin/perl", "server.pl") as server:
        with Gateway(binary, server.port, "--as", "hixie-76", path="/") as gateway:
            client = Proc("heirloom connect", [binary, "connect", f"ws://127.0.0.1:{gateway.port}/", "--as", "hybi-08"])
            try:
                client.write(HELLO.encode() + b"\n")
                line = client.line()
                require(line == HELLO.encode(), f"{line!r} comes back{client.talk()}")
                client.end_input()
                code = client.wait()
                require(code == 0, f"heirloom connect exits with {code}{client.talk()}")
            finally:
                client.stop()
            for due in (b"open draft-ietf-hybi-00", b"closed ff00"):
                line = server.line()
                require(line == due, f"the server says {line!r}, {due!r} was due")


# More than one gateway, a proxy behind it, and TLS.


HAPROXY_THAT_READS = """
frontend behind
    mode http
    bind 127.0.0.1:{port} accept-proxy
    timeout client 10s
    http-request set-header X-Seen-By-HAProxy %[src]
    default_backend ws

backend ws
    mode http
    timeout connect 5s
    timeout server 10s
    timeout tunnel 1h
    server ws 127.0.0.1:{backend}
"""


def tells_haproxy(binary, debian, backend, options):
    port = free_port()
    path = written(HAPROXY_THAT_READS.format(port=port, backend=backend.port))
    with debian.haproxy_with(path, port), Gateway(binary, port, *options) as gateway, Raw(gateway.port, CLIENT) as raw:
        raw.ask(HIXIE_76, body=BODY_76)
        raw.head()
        raw.octets(16)
        told = backend_head(raw)["headers"]
        require(told["x-seen-by-haproxy"] == CLIENT, f"HAProxy sees {told['x-seen-by-haproxy']}")


def several_machines(binary, debian, node_modules, old, new):
    """One balancer, two gateways: clients of each version on both; one drains, and comes back."""
    clients = [
        (old, "hixie-76", None),
        (new, "rfc6455", "code 1001 clean true reason going-away"),
        (perl_client("draft-hixie-75"), "hixie-75", "eof"),
        (perl_client("draft-ietf-hybi-00"), "hixie-76", "ff00"),
        (perl_client("draft-ietf-hybi-10"), "hybi-08", "code 1001 going-away"),
    ]
    options = ["--versions", "all", "--accept-proxy", "127.0.0.1"]
    port = free_port()
    with contextlib.ExitStack() as stack:
        backends = {place: stack.enter_context(Backend(node_modules)) for place in ("/one", "/two")}

        def start(place, on=0):
            return stack.enter_context(Gateway(binary, backends[place].port, *options, path=place, port=on))

        def land(client):
            """A connection, and the gateway that it came to."""
            socket = stack.enter_context(opened(client, port))
            socket.text("head")
            return socket, json.loads(expect(socket, "text"))["url"]

        gateways = {place: start(place) for place in backends}
        replaced = {":8000": f":{port}", ":8076": f":{gateways['/one'].port}", ":8077": f":{gateways['/two'].port}"}
        balancer = stack.enter_context(debian.haproxy_with(settings("haproxy-several.cfg", replaced), port))
        landed = {"/one": [], "/two": []}
        for client, _, closing in clients:
            places = []
            for _ in range(2):
                socket, place = land(client)
                landed[place].append((socket, closing))
                places.append(place)
            require(sorted(places) == ["/one", "/two"], f"two clients land on {places}")
        # Both ends of each conversation hear that the machine goes away.
        backends["/one"].forget_lines()
        code = gateways["/one"].drain()
        require(code == 0, f"the gateway that drains exits with {code}")
        for socket, closing in landed["/one"]:
            expect(socket, "closed", closing)
        heard = [backends["/one"].line() for _ in landed["/one"]]
        require(set(heard) == {b"closed 1001 going-away"}, f"the backend of the gateway that drains says {heard}")
        # The balancer's checks have lines too.
        lines = b" ".join(iter(gateways["/one"].line, None)).decode()
        for _, version, _ in clients:
            require(version in lines, f"no access line names {version}: {lines[-400:]}")
        for socket, _ in landed["/two"]:
            socket.text(HELLO)
            expect(socket, "text", HELLO)
        for client, _, _ in clients:
            place = land(client)[1]
            require(place == "/two", f"a client lands on {place}, which is gone")
        at = balancer.wait_to_say("heirlooms/one is DOWN")
        start("/one", gateways["/one"].port)
        balancer.wait_to_say("heirlooms/one is UP, reason: Layer7 check passed, code: 200", at)
        places = [land(client)[1] for client, _, _ in clients]
        require(set(places) == {"/one"}, f"one gateway is back and has no connections, clients land on {places}")
        for socket, _ in landed["/two"]:
            socket.text(BEYOND_BMP)
            expect(socket, "text", BEYOND_BMP)


def old_tls(binary, debian, node_modules):
    tls = certificates.rsa().client("TLSv1", "AES128-SHA:@SECLEVEL=0")
    port = free_port()
    options = ["--accept-proxy", "127.0.0.1", "--public-url", f"wss://panel.example:{port}"]
    with Backend(node_modules) as backend, Gateway(binary, backend.port, *options) as gateway:
        replaced = {":8443": f":{port}", ":8076": f":{gateway.port}", "/etc/haproxy/heirloom.pem": certificates.rsa().pem}
        with debian.haproxy_with(settings("haproxy-tls.cfg", replaced), port), Raw(port, CLIENT, tls) as raw:
            require(raw.socket.version() == "TLSv1", f"it is {raw.socket.version()}")
            raw.ask(HIXIE_76, "/a", body=BODY_76)
            location = header(raw.head(), "Sec-WebSocket-Location")
            require(location == f"wss://panel.example:{port}/a", f"the location is {location}")
            require(raw.octets(16) == DIGEST_76, "the proof is wrong")
            told = backend_head(raw)["headers"]
            require(told["x-forwarded-for"] == CLIENT, f"X-Forwarded-For is {told['x-forwarded-for']}")


# Plain HTTP beside the sockets.


def asks_plainly(port):
    """Two requests on one connection. ws refuses what asks for no upgrade, and the gateway has no such page."""
    with Raw(port) as raw:
        for _ in range(2):
            raw.send(b"GET /info HTTP/1.1\r\nHost: x\r\n\r\n")
            head = raw.head()
            require(head.startswith("HTTP/1.1 426 "), f"the answer is {head!r}")
            raw.octets(int(header(head, "Content-Length")))


def passes_http(binary, backend):
    with Gateway(binary, backend.port, "--http", "pass", path="") as gateway:
        asks_plainly(gateway.port)
        line = (gateway.line() or b"").decode()
        require(" path=/info " in line and " state=http " in line, f"the access line is {line!r}")


def splits_http(binary, debian, backend):
    options = ["--versions", "all", "--accept-forwarded", "127.0.0.1"]
    with Gateway(binary, backend.port, *options, path="") as gateway, debian.nginx_split(gateway.port, backend.port) as nginx:
        asks_plainly(nginx.port)
        with Raw(nginx.port) as raw:
            raw.ask(HIXIE_76, body=BODY_76)
            raw.head()
            require(raw.octets(16) == DIGEST_76, "the digest is wrong")
            require(backend_head(raw)["headers"]["x-forwarded-for"].startswith("127.0.0.1"), "the client is not named")
        line = (gateway.line() or b"").decode()
        require("hixie-76" in line, f"the access line is {line!r}")


def check_gateways(report, binary, debian_folder, node_modules, engines, perl):
    """`engines` are the browsers by the row that they have in the matrix."""
    debian = Debian(debian_folder)
    browsers = {version: (peer, client) for (peer, _, version), client in engines.items()}
    with ways(binary, debian, node_modules) as found:
        for way in found.values():
            if "hixie-76" in browsers:
                peer, client = browsers["hixie-76"]
                check_client(report, way, peer, client, "hixie-76", "76", ("", "closed 1001"), None)
            if "rfc6455" in browsers:
                peer, client = browsers["rfc6455"]
                check_client(report, way, peer, client, "rfc6455", "13", None, "code 4001 clean true reason bye")
            for name, version, wire, closing, drops in (
                # hixie-75 has no close, and PhantomJS sends none: they only end TCP.
                ("draft-hixie-75", "hixie-75", "75", ("eof", "closed 1001"), "eof"),
                ("draft-ietf-hybi-00", "hixie-76", "76", ("ff00", "closed 1000"), "ff00"),
                ("draft-ietf-hybi-10", "hybi-08", "8", None, "code 4001 bye"),
            ):
                check_client(report, way, perl, perl_client(name), version, wire, closing, drops)
        for way in found.values():
            title = f"gateway, {way.name}: "
            report.hold(title + "hixie-76 with its body", way.watched, "hixie-76", takes_body, way, False)
            report.hold(title + "hixie-76 with its body after the 101", way.watched, "hixie-76", takes_body, way, True)
            report.hold(title + "the backend and the access line know the client", tells_who_asks, way)
            if way.name == "nginx http":
                continue
            report.hold(title + "hixie-75 that ends its side hears the rest", way.watched, "hixie-75", hears_the_rest, way)
        for way in found.values():
            report.hold(f"gateway, {way.name}: /healthz is answered", is_healthy, way)
        for way in (found["alone"], found["nginx http"]):
            report.hold(f"gateway, {way.name}: what a client says of itself is not believed", believes_no_client, way)
        for way in (found["HAProxy tcp"], found["nginx stream"]):
            report.hold(f"gateway, {way.name}: nobody comes in without its header", lets_nobody_in, way)
        alone = found["alone"]
        report.hold("gateway: the status of a backend that refuses", passes_refusals, alone.port)
        report.hold("gateway: 502 where there is no backend", tells_that_nobody_is_there, binary)
        what = "gateway: without a path in --to the client's own is asked"
        report.hold(what, asks_the_path_of_the_client, binary, alone.backend)
        report.hold("gateway, --http pass: plain HTTP reaches the backend", passes_http, binary, alone.backend)
        what = "gateway: nginx sends it upgrades, and all else to the backend"
        report.hold(what, splits_http, binary, debian, alone.backend)
        report.hold("gateway: HAProxy speaks TLS 1.0 before it, with --public-url", old_tls, binary, debian, node_modules)
        for options in (["--send-proxy"], ["--send-proxy=v1"], ["--send-proxy=v2"]):
            what = f"gateway, {options[0]}: HAProxy behind it knows the client"
            report.hold(what, tells_haproxy, binary, debian, alone.backend, options)
        if len(browsers) < 2:
            return
        old, new = browsers["hixie-76"][1], browsers["rfc6455"][1]
        report.hold("gateway: subprotocol, origin and cookie reach the backend", carries_heads, alone, new, old)
        report.hold("gateway: pings pass", passes_pings, alone, new)
        report.hold("gateway: base64 for who has no binary", says_base64, binary, alone.backend, new)
        report.hold("gateway: access lines as text", writes_access_lines, binary, alone.backend, new, [])
        report.hold("gateway: access lines as JSON", writes_access_lines, binary, alone.backend, new, ["--json"])
    report.hold("gateway, --as hixie-76: Chromium to Perl", dials_old, binary, perl, new, [], converses_with_old)
    report.hold("gateway, --as hixie-76: binary is refused", dials_old, binary, perl, new, [], has_no_binary)
    options = ["--binary", "base64"]
    report.hold("gateway, --as hixie-76: binary as base64", dials_old, binary, perl, new, options, has_base64)
    report.hold("gateway, --as hixie-76: heirloom connect to Perl", connects_to_old, binary, perl)
    report.hold("gateway: several behind one balancer", several_machines, binary, debian, node_modules, old, new)
