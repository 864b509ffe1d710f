#!/usr/bin/env python3
"""Drives foreign peers against the built program and prints who understood whom.

Browsers, Perl and Ruby as clients of the server; Perl, Ruby and Twisted as servers of the client; applications behind the
gateway; README.md in the browsers; and what `heirloom conform` says of peers. Writes docs/interop.md and the tables of
docs/conform.md.
"""

import argparse
import contextlib
import os
import shutil
import signal
import sys

import browsers
from applications import APPLICATION_COLUMNS, check_applications
from asks import BEYOND_BMP, HELLO, MIB_TEXT, Checks, echoes, echoes_binary, expect, opened, require, shortly
from compressed import CARRIED_COLUMNS, COMPRESSION_COLUMNS, DEFLATE, FRAME, WINDOW, Library, check_compressed
from conform import check_conform
from day import ALL as DAY_CLIENTS, check_day
from explained import check_explained
from gateways import Backend, check_gateways
from javakeys import CLIENTS, check_java_keys
from labs import LAB_COLUMNS, check_labs
from links import check_links
from procs import HERE, WORK, Failure, Heirloom, Proc, clean_env, stop_all
from readme import check_readme
from recordings import check_readers, check_recordings
from rooms import check_rooms
from scripts import ScriptServer, perl_client, ruby_client
from tap import Tap, close_code
from tls import TLS_COLUMNS, check_tls
from txwschecks import check_txws
from versions import find_echoing, find_others, versions

BUDGET = 660  # seconds for everything; a run takes a fraction of it

SCREENSHOTS = os.path.join(HERE, ".cache", "screenshots")

ROW_OF_200 = [f"message {i} \u00e9" for i in range(200)]

COLUMNS = ["connects", "text", "UTF-8", "1 MiB", "binary", "200", "room", "closes", "drain", "refusal"]
RECORDING_COLUMNS = ["recorded", "check", "heirloom", "tcpdump", "Perl"]
GATEWAY_COLUMNS = ["connects", "text", "UTF-8", "1 MiB", "1000", "binary", "closes", "closed"]
SENTENCES = {
    "connects": "connects",
    "text": "gets a text back as it went",
    "UTF-8": "gets characters beyond the BMP back as they went",
    "1 MiB": "gets a text of 1 MiB back as it went",
    "binary": "gets a binary message of 1 MiB back as it went",
    "200": "gets 200 messages in a row back in their order",
    "1000": "gets 1000 messages in a row back in their order",
    "room": "receives the messages of others on a topic and not its own",
    "closes": "closes in its own way",
    "closed": "is closed in its own way",
    "drain": "receives a close when the server drains",
    "refusal": "gets a refusal that names how to turn its version on",
    "recorded": "is recorded as what it sent",
    "check": "the core holds, and the files are canonical",
    "heirloom": "replayed against heirloom serve",
    "tcpdump": "a capture of it imports to the same octets",
    "Perl": "replayed against Perl's server",
    "shown": "is shown its version",
    "64 KiB": "gets a text of 64 KiB back as it went",
    "trips": "has its round trips in words and painted",
    "chat": "arrives in the other browser unchanged",
    "explained": "has its handshake explained",
    "listed": "sees the connections of both browsers",
    "vector": "gives a vector that holds",
    "keyboard": "needs no mouse",
    "lab binary": "gets a binary message of 256 octets back as it went",
    "lab closes": "closes and connects again",
    "application closes": "leaves, and the application hears that",
    "messages": "sends messages of all sizes and gets them back, compressed as agreed",
    "compressing server messages": "gets messages of all sizes and sends them back, compressed as agreed",
    "connect": "gets messages from heirloom connect and sends them back, compressed as agreed",
    "plain, plain": "compresses nothing, nor does the backend",
    "compressed, plain": "compresses, the backend does not",
    "plain, compressed": "compresses nothing, the backend does",
    "same": "compresses as the backend does, and the octets are carried as they are",
    "same, contexts": "compresses as the backend does with contexts, and the octets are carried as they are",
    "other": "compresses otherwise than the backend",
}
# What a library does otherwise than its draft says, and is held to here: (peer, role, version) -> why.
DIFFERENCES = {}


class OutOfTime(Exception):
    pass


class Report(Checks):
    def __init__(self):
        super().__init__()
        self.rows = {}

    def row(self, *row):
        """Peer, role, version, and through a gateway the way to it."""
        self.rows.setdefault(row, {})
        return row

    def check(self, row, column, function, *args, differs=False):
        sentence = SENTENCES.get(f"{row[1]} {column}") or SENTENCES[column]
        what = ", ".join(row) + ": " + ("differs as known" if differs else sentence)

        def server():
            return Heirloom.latest.talk() if Heirloom.latest and row[1] in ("client", "gateway", "application", "lab", "tls") else ""

        good = self.hold(what, function, *args, server=server)
        self.rows[row][column] = "**no**" if not good else "differs" if differs else "yes"
        return good

    def matrix(self):
        return self._table(["peer", "role", "version"], COLUMNS, "client", "server")

    def recordings(self):
        return self._table(["peer", "version"], RECORDING_COLUMNS, "recording")

    def gateways(self):
        return self._table(["client", "version", "way"], GATEWAY_COLUMNS, "gateway")

    def applications(self):
        return self._table(["client", "version", "application"], APPLICATION_COLUMNS, "application")

    def compressing(self, role):
        return self._table([role, "compression", "offer", "answer"], COMPRESSION_COLUMNS, f"compressing {role}")

    def carried(self):
        return self._table(["client", "backend"], CARRIED_COLUMNS, "compressing gateway")

    def over_tls(self):
        return self._table(["client", "version", "TLS", "server"], TLS_COLUMNS, "tls")

    def labs(self):
        return self._table(["browser", "version"], LAB_COLUMNS, "lab")

    def _table(self, head, columns, *roles):
        rows = {row: cells for row, cells in self.rows.items() if row[1] in roles}
        used = [c for c in columns if any(c in cells for cells in rows.values())]
        lines = [[*head, *used]]
        peers = list(dict.fromkeys(row[:2] for row in rows))
        for row in sorted(rows, key=lambda row: (peers.index(row[:2]), row[2])):
            cells = [cell for cell in row if cell != row[1] or "role" in head]
            lines.append([*cells, *(rows[row].get(c, "-") for c in used)])
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        lines.insert(1, ["-" * w for w in widths])
        return "\n".join("| " + " | ".join(c.ljust(w) for c, w in zip(line, widths)) + " |" for line in lines)


# Checks of a client.


def connects(client, port, version):
    tap = Tap(port)
    with opened(client, tap.port):
        require(tap.version() == version, f"it asks for version {tap.version()}, not {version}")


def share_a_room(one, other, port):
    with opened(one, port, "/chat") as first, opened(other, port, "/chat") as second:
        first.text("from the first")
        expect(second, "text", "from the first")
        second.text("from the second \U0001f600")
        # Its own message would have come before this one.
        expect(first, "text", "from the second \U0001f600")
        first.text("last")
        expect(second, "text", "last")


def closes(client, port, event):
    """The client closes, the server replies, the server ends TCP."""
    tap = Tap(port)
    with opened(client, tap.port) as socket:
        socket.text(HELLO)
        expect(socket, "text", HELLO)
        socket.close()
        expect(socket, "closed", event)
        tap.wait_ended()
    if event == "eof":
        # hixie-75 has no close on the wire.
        for who in ("client", "server"):
            require(tap.said(who) == b"\0" + HELLO.encode() + b"\xff", f"the {who} says {tap.said(who).hex()}")
        return
    require(tap.ended[0] == "server", f"TCP ends in this order: {tap.ended}")
    if event == "ff00":
        for who in ("client", "server"):
            require(tap.said(who).endswith(b"\xff\xff\0"), f"the {who} ends with {tap.said(who)[-16:].hex()}")
    if "code 1000" in event:
        for who in ("client", "server"):
            code = close_code(tap.said(who))
            require(code == 1000, f"the {who} ends with {tap.said(who)[-16:].hex()}, which is not a close with 1000")


def phantomjs_closes(client, port):
    """WebKit of 2011 ends TCP at a frame boundary, without FF 00; that is a normal end."""
    tap = Tap(port)
    with opened(client, tap.port) as socket:
        socket.text(HELLO)
        expect(socket, "text", HELLO)
        socket.close()
        expect(socket, "closed")
        tap.wait_ended()
    require(tap.ended[0] == "client", f"TCP ends in this order: {tap.ended}")
    require(tap.said("client") == b"\0" + HELLO.encode() + b"\xff", f"it says {tap.said('client').hex()}")


def receives_close(client, binary, options, event):
    with Heirloom(binary, *options) as server, opened(client, server.port) as socket:
        socket.text(HELLO)
        expect(socket, "text", HELLO)
        code = server.drain()
        expect(socket, "closed", event)
        require(code == 0, f"the server's exit code is {code}")


def is_told_why(client, port):
    socket = client.open(port)
    try:
        answer = expect(socket, "refused")
    finally:
        socket.done()
    head, _, body = answer.partition(b"\r\n\r\n")
    require(head.startswith(b"HTTP/1.1 426 "), f"the answer begins {shortly(head[:40])}")
    require(body.split()[:1] == [b"version-off:"], f"the body begins {shortly(body[:60])}")


def echo_checks(report, row, client, port, version, binary):
    report.check(row, "connects", connects, client, port, version)
    report.check(row, "text", echoes, client, port, HELLO)
    report.check(row, "UTF-8", echoes, client, port, BEYOND_BMP)
    report.check(row, "1 MiB", echoes, client, port, MIB_TEXT)
    if binary:
        report.check(row, "binary", echoes_binary, client, port)
    report.check(row, "200", echoes, client, port, *ROW_OF_200)


def check_browsers(report, binaries, phantomjs_folder, tools, libraries):
    """Both engines on one server at the same time, and what else needs them."""
    binary = binaries[0]
    pages = browsers.Pages()
    old_row = report.row("PhantomJS 1.9.8", "client", "hixie-76")
    new_row = report.row(versions["chromium"], "client", "rfc6455")
    engines = {}
    starts = ((old_row, lambda: browsers.phantomjs(pages, phantomjs_folder)), (new_row, lambda: browsers.chromium(pages)))
    for row, start in starts:
        try:
            engines[row] = start()
        except Failure as e:
            report.check(row, "connects", require, False, e)
    with Heirloom(binary) as server:
        if old_row in engines:
            old = engines[old_row]
            echo_checks(report, old_row, old, server.port, "76", False)
            report.check(old_row, "closes", phantomjs_closes, old, server.port)
        if new_row in engines:
            new = engines[new_row]
            echo_checks(report, new_row, new, server.port, "13", True)
            report.check(new_row, "closes", closes, new, server.port, "code 1000 clean true")
        if len(engines) == 2:
            report.check(old_row, "room", share_a_room, old, new, server.port)
            report.check(new_row, "room", share_a_room, new, old, server.port)
    if len(engines) == 2:
        check_browser_drain(report, binary, old_row, old, new_row, new)
    check_recordings(report, binary, engines, versions["perl"])
    check_gateways(report, binary, *tools, engines, versions["perl"])
    if len(engines) == 2:
        titled = ((old_row[0], old), (new_row[0], new))
        titles = ("ws " + versions["ws"], versions["websockets"])
        check_tls(report, binaries, titled, pages, tools, (*libraries, titles))
    check_compression(report, binary, pages, engines.get(new_row), libraries)
    for engine in engines.values():
        engine.proc.stop()


def check_compression(report, binary, pages, chromium, libraries):
    """With the Chromium that runs already, and with PhantomJS 2, which is another client of RFC 6455 too."""
    phantomjs2, *folders = libraries
    title = "PhantomJS 2.1.1"
    row = report.row(title, "client", "rfc6455")
    found = {versions["chromium"]: (chromium, f"{DEFLATE}; {WINDOW}")} if chromium else {}
    try:
        browser = browsers.phantomjs2(pages, phantomjs2)
    except Failure as e:
        report.check(row, "connects", require, False, e)
    else:
        found[title] = (browser, FRAME)
        with Heirloom(binary) as server:
            echo_checks(report, row, browser, server.port, "13", True)
            report.check(row, "closes", closes, browser, server.port, "code 1000 clean true")
    scripts = (("ws " + versions["ws"], "node", "deflate.js"), (versions["websockets"], sys.executable, "deflate.py"))
    peers = [Library(*script, folder) for script, folder in zip(scripts, folders)]
    check_compressed(report, binary, found, peers)
    if title in found:
        browser.proc.stop()


def check_browser_drain(report, binary, old_row, old, new_row, new):
    """One server that drains says FF 00 to one engine and 1001 to the other."""
    with Heirloom(binary) as server:
        taps = Tap(server.port), Tap(server.port)
        with opened(old, taps[0].port) as first, opened(new, taps[1].port) as second:
            codes = []

            def old_hears():
                codes.append(server.drain())
                require(codes[0] == 0, f"the server's exit code is {codes[0]}")
                expect(first, "closed")
                taps[0].wait_ended()
                require(taps[0].said("server") == b"\xff\0", f"the server says {taps[0].said('server').hex()}")

            def new_hears():
                expect(second, "closed", "code 1001 clean true reason going-away")
                taps[1].wait_ended()
                code = close_code(taps[1].said("server"))
                require(code == 1001, f"the server says {taps[1].said('server').hex()}")

            report.check(old_row, "drain", old_hears)
            report.check(new_row, "drain", new_hears)


def check_pages(report, binary, phantomjs_folder):
    """The pages that the program makes: the lab, and an explanation."""
    os.makedirs(SCREENSHOTS, exist_ok=True)
    chromium = check_labs(report, binary, phantomjs_folder, versions["chromium"], SCREENSHOTS)
    check_explained(report, binary, chromium, SCREENSHOTS)
    check_readme(report, binary, phantomjs_folder, chromium)
    chromium.stop()
    print("\n".join(sorted(os.path.join(SCREENSHOTS, name) for name in os.listdir(SCREENSHOTS))), flush=True)


def check_library_client(report, row, client, binary, version, on_by_default, has_binary, closing, drain_close):
    options = [] if on_by_default else ["--versions", "all"]
    with Heirloom(binary, *options) as server:
        echo_checks(report, row, client, server.port, version, has_binary)
        other = perl_client("draft-ietf-hybi-00" if version == "13" else "draft-ietf-hybi-17")
        report.check(row, "room", share_a_room, client, other, server.port)
        report.check(row, "closes", closes, client, server.port, closing)
    report.check(row, "drain", receives_close, client, binary, options, drain_close)
    # A draft that is off is answered as hixie-76, which has the same handshake.
    if not on_by_default and not version.startswith("draft"):
        with Heirloom(binary) as server:
            report.check(row, "refusal", is_told_why, client, server.port)


def check_perl_clients(report, binary):
    for name, version, wire, on, has_binary, closing, drain in (
        ("draft-hixie-75", "hixie-75", "75", False, False, "eof", "eof"),
        ("draft-ietf-hybi-00", "hixie-76", "76", True, False, "ff00", "ff00"),
        ("draft-ietf-hybi-10", "hybi-08", "8", True, True, "code 1000", "code 1001 going-away"),
        ("draft-ietf-hybi-17", "rfc6455", "13", True, True, "code 1000", "code 1001 going-away"),
    ):
        row = report.row(versions["perl"], "client", version)
        check_library_client(report, row, perl_client(name), binary, wire, on, has_binary, closing, drain)


# Ruby as a client, and servers.


def ruby_frames_otherwise(client, binary, octets):
    """The handshake succeeds; the frame is not the draft's, and the server does not take it for a message."""
    with Heirloom(binary, "--versions", "all") as server, opened(client, server.port) as socket:
        socket.text("Hello")
        socket.proc.end_input()
        while True:
            event, what = socket.next()
            if event == "closed":
                break
            require(what != "Hello", "the message comes back: the gem follows the draft now")
        sent = socket.frames[0]
        require(sent.startswith(octets), f"the gem sends {sent.hex()}, not {octets.hex()}...")


def check_ruby_clients(report, binary):
    for number, version, wire, on, has_binary, closing, drain in (
        (75, "hixie-75", "75", False, False, "eof", "eof"),
        (76, "hixie-76", "76", True, False, "ff00", "ff00"),
        # The gem names drafts 1 and 2 and frames like hixie-76; its first frame tells.
        (1, "hybi-01", "draft 1", True, False, "ff00", "ff00"),
        (2, "hybi-02", "draft 2", True, False, "ff00", "ff00"),
        (3, "hybi-03", "draft 3", False, True, "code none", "code none"),
        (7, "hybi-07", "7", True, True, "code 1000", "code 1001"),
        (8, "hybi-08", "8", True, True, "code 1000", "code 1001"),
        (13, "rfc6455", "13", True, True, "code 1000", "code 1001"),
    ):
        row = report.row(versions["ruby"], "client", version)
        check_library_client(report, row, ruby_client(number), binary, wire, on, has_binary, closing, drain)
    for number, version, octets, why in (
        (5, "hybi-05", b"\x84\x85", "it masks only the payload, as from 07 on; the draft masks the header too"),
        (6, "hybi-06", b"\x84\x85", "it masks only the payload, as from 07 on; the draft masks the header too"),
    ):
        row = report.row(versions["ruby"], "client", version)
        DIFFERENCES[row] = why
        client = ruby_client(number)
        with Heirloom(binary, "--versions", "all") as server:
            wire = str(number) if number > 3 else f"draft {number}"
            report.check(row, "connects", connects, client, server.port, wire)
        report.check(row, "text", ruby_frames_otherwise, client, binary, octets, differs=True)
        with Heirloom(binary) as server:
            report.check(row, "refusal", is_told_why, client, server.port)


@contextlib.contextmanager
def dialled(binary, server, version, opens):
    """`heirloom connect` in a conversation with a foreign server."""
    for _ in range(8):
        url = f"ws://127.0.0.1:{server.port}/"
        # All replies are read before the input ends.
        client = Proc("heirloom connect", [binary, "connect", url, "--as", version, "--wait", "0"])
        try:
            line = server.line()
            # The gem strips white space off the random octets and proves the wrong thing: right is to refuse it. Other
            # octets come with the next attempt.
            if line == b"stripped":
                code = client.wait()
                require(code == 4, f"heirloom connect takes a wrong proof, exit code {code}")
                while not (line or b"").startswith(b"closed"):
                    line = server.line()
                continue
            require(line == b"open " + opens.encode(), f"the server says {line!r}, not that version {opens} opens")
            yield client
            return
        finally:
            client.stop()
    raise Failure("eight times in a row the random octets begin or end with white space")


def server_closed(server, how):
    line = server.line()
    require(line == b"closed " + how.encode(), f"the server says {line!r}, not that it closed with {how}")


def dials(binary, server, version, opens):
    with dialled(binary, server, version, opens):
        pass


def echoed(binary, server, version, opens, how, *messages):
    with dialled(binary, server, version, opens) as client:
        client.write("".join(m + "\n" for m in messages).encode())
        for message in messages:
            line = client.line()
            require(line is not None, f"heirloom connect ends early{client.talk()}")
            got = line.decode("utf-8", "replace")
            require(got == message, f"{shortly(message)} was due, {shortly(got)} came")
        client.end_input()
        code = client.wait()
        server_closed(server, how)
        require(code == 0, f"heirloom connect exits with {code}{client.talk()}")
        require(client.line() is None, "heirloom connect prints more than the messages")


def not_echoed(binary, server, version, opens):
    with dialled(binary, server, version, opens) as client:
        client.write(b"Hello\n")
        client.end_input()
        while True:
            line = client.line()
            if line is None:
                return
            require(line != b"Hello", "the message comes back: the gem follows the draft now")


def refused_by_us(binary, server, code):
    client = Proc("heirloom connect", [binary, "connect", f"ws://127.0.0.1:{server.port}/", "--as", "hixie-75"])
    try:
        exit_code = client.wait()
        require(exit_code == 4, f"heirloom connect exits with {exit_code}: the server may follow the draft now")
        require(f"heirloom: {code}: " in client.talk(), f"heirloom connect does not say {code}{client.talk()}")
    finally:
        client.stop()


def check_servers(report, binary):
    perl = ("perl", "/usr/bin/perl", "server.pl")
    gem = ("ruby", "/usr/bin/ruby", "server.rb")
    em = ("em", "/usr/bin/ruby", "em_server.rb")
    for (peer, interpreter, script), version, opens, how in (
        (perl, "hixie-76", "draft-ietf-hybi-00", "ff00"),
        (perl, "hybi-08", "draft-ietf-hybi-10", "code 1000"),
        (perl, "rfc6455", "draft-ietf-hybi-17", "code 1000"),
        (gem, "hixie-75", "75", "eof"),
        (gem, "hixie-76", "76", "ff00"),
        (gem, "hybi-07", "7", "code 1000"),
        (gem, "hybi-08", "8", "code 1000"),
        (gem, "rfc6455", "13", "code 1000"),
        (em, "hixie-75", "75", "eof"),
        (em, "hixie-76", "76", "eof"),
        (em, "hybi-03", "2", "code 1005"),
        (em, "hybi-05", "5", "code 1005"),
        (em, "hybi-06", "6", "code 1000"),
        (em, "hybi-07", "7", "code 1000"),
        (em, "hybi-08", "8", "code 1000"),
        (em, "rfc6455", "13", "code 1000"),
    ):
        row = report.row(versions[peer], "server", version)
        # One server for each check: what one conversation leaves behind does not reach the next.
        with ScriptServer(row[0], interpreter, script) as server:
            report.check(row, "connects", dials, binary, server, version, opens)
        for column, messages in (
            ("text", [HELLO]),
            ("UTF-8", [BEYOND_BMP]),
            ("1 MiB", [MIB_TEXT]),
            ("200", ROW_OF_200),
            # With no line of input it would stay until the server closes.
            ("closes", [HELLO]),
        ):
            with ScriptServer(row[0], interpreter, script) as server:
                report.check(row, column, echoed, binary, server, version, opens, how, *messages)
    for version, opens, why in (
        ("hybi-03", "2", "it frames the draft number 2 like hixie-76"),
        ("hybi-05", "5", "it unmasks only the payload, as from 07 on; the draft masks the header too"),
        ("hybi-06", "6", "it unmasks only the payload, as from 07 on; the draft masks the header too"),
    ):
        row = report.row(versions["ruby"], "server", version)
        DIFFERENCES[row] = why
        with ScriptServer(row[0], gem[1], gem[2]) as server:
            report.check(row, "connects", dials, binary, server, version, opens)
        with ScriptServer(row[0], gem[1], gem[2]) as server:
            report.check(row, "text", not_echoed, binary, server, version, opens, differs=True)
    row = report.row(versions["perl"], "server", "hixie-75")
    DIFFERENCES[row] = "its reason phrase is that of hixie-76, and the browsers of hixie-75 compare it octet for octet"
    with ScriptServer(*perl) as server:
        report.check(row, "connects", refused_by_us, binary, server, "response-lines", differs=True)


# The report.

PAGE = """# Interoperability

`tests/peers/run` writes this page. It runs these peers against the built program on loopback.

{matrix}

- *yes*: the check passed in this run. *-*: the peer does not have this feature. *differs*: the peer departs from its
  draft in a known way, and the check expects that.
- *connects*: the version on the wire is the one named. *1 MiB*, *binary*: one message of that size. *200*: that many
  messages in a row. *room*: messages to and from a client of another version on the topic `/chat`. *closes*: the closing
  handshake of the version, seen on the wire or by the peer. *drain*: the close that the server sends after TERM.
  *refusal*: 426 and `version-off:` while the version is off.
- The client of the servers is `heirloom connect --as VERSION`.
- {java_clients} clients with the keys of Java-WebSocket 1.3.0, which have any character from 33 to 127 between their digits,
  open and echo, at `heirloom serve` and at `heirloom gateway`.
- A client whose link goes down, between two network namespaces, is ended by `--idle-timeout-ms`: in RFC 6455 because it
  does not answer a ping, in hixie-76 because TCP's user timeout is over.

## Through the gateway

{gateways}

- The backend is ws {ws}, an RFC 6455 server for Node.js. *alone*: the client connects to `heirloom gateway`
  directly. *HAProxy tcp*, *nginx stream*, *nginx http*: it connects through Debian's {haproxy} or {nginx}, with the
  settings of [deployment](deployment.md).
- *connects*: the version on the wire is the one named, and the backend is asked in version 13. *1 MiB*, *binary*: one
  message of that size. *1000*: that many messages in a row. *closes*: the client closes, and the backend receives the
  close; codes and reasons pass where the version has them. *closed*: the backend closes with 4001, and the client
  receives the close of its own version.
- hixie-75 *differs* behind nginx http: nginx writes headers of its own first, and the browsers of hixie-75 compare the
  first three lines.

## TLS

{tls}

- The client dials `wss://`, to `heirloom serve` or `heirloom gateway` with `--tls-cert` and `--tls-key`; the gateway carries
  to ws {ws}. *TLS* is the version that the ServerHello on the wire says. The certificates are made by the run and
  self-signed: Chromium is told their SHA-256 (`--ignore-certificate-errors-spki-list`), ws and websockets name the file, and
  PhantomJS finds it in the place of `/etc/ssl/certs`.
- PhantomJS 1.9.8 uses OpenSSL 0.9.8e of CentOS 5, which has TLS 1.0 and nothing newer; the program was built with the feature
  `legacy-tls` and has `--tls-legacy`. PhantomJS compares the location with the `wss://` URL that it dialled. hixie-75 and
  hixie-76 are also sent over TLS 1.0, 1.1 and 1.2 with suites in CBC mode.
- In one second one port serves Chromium over TLS 1.3, PhantomJS and another client over TLS 1.0, hixie-75 over TLS 1.1,
  hixie-76 and RFC 6455 without TLS, and the request of a Flash player for its policy.
- HAProxy in tcp mode and nginx stream pass TLS through, with the settings of [deployment](deployment.md), and their PROXY
  header names the client. They also end TLS 1.0 and 1.3 themselves: HAProxy says so in its PROXY header, and for nginx
  `--public-url` does.
- ws and websockets are servers too, of TLS 1.3 and 1.2, for `heirloom connect` and `probe`, and ws for
  `heirloom gateway --to wss://`. curl and `openssl s_client` meet the wrong protocol in both directions.

## Compression

{clients}

{servers}

- The clients connect to `heirloom serve`, and `heirloom gateway` connects to the servers. *compression* is the option of
  the program. *offer* and *answer*: `Sec-WebSocket-Extensions` of the request and of the response.
- *messages*: 30 messages of 0 octets to 1 MiB, text and binary, go there and back, and then the close. ws and websockets
  send each third message in several frames. What each end sends is inflated once more by zlib of Python, with the window
  that was agreed and, without context takeover, anew for each message. RSV1 is on the first frame of a message only, or on
  each frame with `x-webkit-deflate-frame`, and nowhere without an agreement. Every message of 1000 octets and more is
  compressed, unless it is random. *connect*: the same with `heirloom connect`, and texts only.
- ws and websockets also ask for, and answer with, windows of 8 to 15 bits. No distance on the wire is larger. With 8 bits
  the server declines, and the client sends its messages uncompressed.

{carried}

- The client connects through `heirloom gateway --backend-compression always` to the backend. *plain*: without compression
  on that side. *same*: both sides have the same parameters. Messages in one frame of at most 16,256 octets are carried as
  they are compressed then, unless they may refer to those before them (*contexts*). *other*: both sides compress, with
  different parameters.

## Applications

{applications}

- The server is {socketio} on Node.js {node}, the Node.js of its time, or {sockjs} on a current one. Both know
  RFC 6455. nginx, with the settings of [deployment](deployment.md#sockjs-and-socketio-plain-http-beside-the-sockets), sends requests for an upgrade to
  `heirloom gateway` and all others to the server.
- The browsers run the application's own script, with WebSocket as its only transport. Perl's clients send the
  application's frames, without nginx. *closes*: the client leaves, and the server is told.
- *1 MiB* is not tried with the client for Node.js.

## A day of an installed gateway

- The Debian package of this run is installed into a system of its own, and its unit's lines start, reload and stop it, with
  ten lines of configuration. {day_clients} clients are connected, in hixie-75, hixie-76, hybi-08 and RFC 6455, with TLS and without, PhantomJS
  1.9.8, {chromium}, Perl and Ruby among them. Each sends a text every second and connects again where it is cut off.
- The backend moves to another address and then gets another name, the certificate is renewed, Debian's logrotate rotates
  the access log, two clients are unplugged, the backend is killed and comes back, and at last the gateway drains.
- Debian's prometheus reads the metrics and promtool checks them. Connections, handshakes by version and refusals are the
  same in prometheus, in the access log and in the clients' own count. The closes of a changed route and of the drain are spread
  over their time. Every text that a client got back was kept by a backend before.

## Recordings

{recordings}

- *recorded*: `heirloom record` between the browser and `heirloom serve` wrote one vector for each of three conversations,
  with the right version, messages and close. *check*: `heirloom check` and `--fmt-check` pass.
- *tcpdump*: a capture of one more conversation, imported, has the same octets of each side as its recording. *heirloom*, *Perl*:
  `heirloom replay` sends the browser's side to `heirloom serve` and to Perl's Protocol::WebSocket, which gets a recording
  without compression.

## The lab page

{labs}

- Both browsers have the page of one `heirloom serve` open. *shown*: the version that the server found. *text* to *binary*:
  the buttons, each with the right echo. *trips*: round trips as text and as a graph. *chat*: the other browser receives
  the message. *explained*: both heads and the proof. *listed*: the connections of both. *vector*: `heirloom check` passes
  the recording, while the connection is open and after it. *closes*: closes and connects again. *keyboard*: Tab reaches
  every control and Enter presses it.
- In Chromium also: nothing in the console, no request to other servers, contrast of at least 4.5, no wider than 320
  pixels, and the same for the pages of `heirloom explain --html`. Without WebSocket or without script the page explains
  that, and PhantomJS is shown which version is off.

## Known differences

{differences}
- PhantomJS 1.9.8 ends TCP at a frame boundary and never sends FF 00.
- WebSocket4Net, client, hixie-76: the numbers in 256 of 300 of its keys are not multiples of their spaces (reported, not
  run here). Such a request is refused, and the refusal names WebSocket4Net as a possible cause.
- em-websocket does not report the close of hixie-76, only the end of TCP.
- The Ruby gem as a server strips white space from the ends of the eight octets of hixie-76, so its proof is wrong for such
  octets. `heirloom connect` refuses that proof, and the check uses octets without white space at the ends.
"""


def write_page(report):
    differences = "\n".join(f"- {row[0]}, {row[1]}, {row[2]}: {why}." for row, why in DIFFERENCES.items())
    with open(os.path.join(HERE, "..", "..", "docs", "interop.md"), "w", encoding="utf-8") as f:
        tables = {"matrix": report.matrix(), "gateways": report.gateways(), "recordings": report.recordings()}
        tables["clients"], tables["servers"] = report.compressing("client"), report.compressing("server")
        tables["carried"], tables["tls"] = report.carried(), report.over_tls()
        tables["labs"], tables["applications"] = report.labs(), report.applications()
        f.write(PAGE.format_map({**tables, **versions, "differences": differences, "java_clients": CLIENTS, "day_clients": DAY_CLIENTS}))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True, help="the built heirloom")
    parser.add_argument("--legacy-bin", required=True, help="the same with the feature legacy-tls")
    parser.add_argument("--deb", required=True, help="the Debian package")
    parser.add_argument("--phantomjs", required=True, help="folder with phantomjs and lib/")
    parser.add_argument("--phantomjs2", required=True, help="folder with phantomjs of version 2")
    parser.add_argument("--debian", required=True, help="folder with usr/sbin/haproxy, usr/bin/prometheus and the others")
    parser.add_argument("--ws", required=True, help="folder with node_modules/ws")
    parser.add_argument("--applications", required=True, help="folder with node-0.10, socket.io and sockjs")
    parser.add_argument("--txws", required=True, help="folder with txws.py")
    parser.add_argument("--websockets", required=True, help="folder with the package websockets")
    parser.add_argument("--driver", required=True, help="folder with node_modules/websocket-driver")
    args = parser.parse_args()
    binaries = os.path.abspath(args.bin), os.path.abspath(args.legacy_bin)
    binary = binaries[0]

    def end(number, _):
        raise OutOfTime(f"the run takes more than {BUDGET} s" if number == signal.SIGALRM else "interrupted")

    report = Report()
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    try:
        signal.alarm(BUDGET)
        find_echoing(binary, args.ws, args.websockets, args.driver)
        find_others(args.debian, args.applications, args.txws)
        check_pages(report, binary, args.phantomjs)
        libraries = (args.phantomjs2, args.ws, args.websockets)
        check_browsers(report, binaries, args.phantomjs, (args.debian, args.ws), libraries)
        check_perl_clients(report, binary)
        check_ruby_clients(report, binary)
        check_servers(report, binary)
        check_txws(report, binary, args.txws, versions["txws"], DIFFERENCES)
        check_applications(report, binary, args.debian, args.applications, args.phantomjs, versions)
        with Backend(args.ws) as backend:
            check_java_keys(report, binary, backend)
        check_links(report, binary)
        check_conform(report, binary, (args.ws, args.websockets, args.driver, args.phantomjs))
        check_day(report, os.path.abspath(args.deb), args.phantomjs, args.debian, args.ws)
        check_readers(report)
    except (Failure, OutOfTime) as e:
        report.failed += 1
        print(f"FAIL  {e}", flush=True)
    finally:
        signal.alarm(0)
        stop_all()
        shutil.rmtree(WORK, ignore_errors=True)
    tables = [report.matrix(), report.gateways(), report.compressing("client"), report.compressing("server"), report.carried()]
    tables += [report.over_tls(), report.applications(), report.recordings(), report.labs()]
    print("\n" + "\n\n".join(tables) + "\n")
    write_page(report)
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed or not report.passed else 0


if __name__ == "__main__":
    sys.exit(main())
