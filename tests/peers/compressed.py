"""Peers that compress, with `heirloom serve` and `heirloom gateway`: browsers, ws of npm and websockets of Python."""

import json
import os
import random
import re

from asks import BEYOND_BMP, HELLO, MIB_OCTETS, MIB_TEXT, expect, require, shortly
from gateways import Gateway
from inflated import CLOSE, Coding, codings, frames, messages
from procs import HERE, Heirloom, Proc
from scripts import ScriptServer, ScriptSocket
from tap import Tap

COMPRESSION_COLUMNS = ["messages", "connect"]
CARRIED_COLUMNS = ["plain, plain", "compressed, plain", "plain, compressed", "same", "same, contexts", "other"]

# Below it the program sends messages as they are.
THRESHOLD = 64
SIZES = [0, 1, 63, 64, 65, 125, 126, 1000, 16384, 65535, 65536, 65537, 300001]
NOISE = random.Random(13).randbytes(20000)
BLOCK = [HELLO, BEYOND_BMP, *(MIB_TEXT[:size] for size in SIZES), *(MIB_OCTETS[:size] for size in SIZES)]
BLOCK += [NOISE, MIB_TEXT]

FLAGS = "server_no_context_takeover; client_no_context_takeover"
WINDOW = "client_max_window_bits"
DEFLATE = "permessage-deflate"
FRAME = "x-webkit-deflate-frame"
# What the client offers, of the gateway too.
OFFERS = {"shared": f"{DEFLATE}; {FLAGS}; {WINDOW}", "per-connection": f"{DEFLATE}; {WINDOW}"}
WINDOW_MODES = (("per-connection", ""), ("shared", f"; {FLAGS}"))
BOTH_FLAGS = {"server_no_context_takeover": True, "client_no_context_takeover": True}


class Socket(ScriptSocket):
    """A client that also sends messages in several frames."""

    def pieces(self, message):
        octets = message.encode() if isinstance(message, str) else message
        third = -(-len(octets) // 3)
        parts = [octets[:third], octets[third : 2 * third], octets[2 * third :]]
        kind = "text" if isinstance(message, str) else "binary"
        self.proc.write(f"pieces {kind} {','.join(part.hex() for part in parts)}\n".encode())


class Library:
    """ws or websockets, with the parameters that it asks for or answers with."""

    def __init__(self, title, interpreter, script, folder):
        self.title, self.interpreter, self.script, self.folder = title, interpreter, script, folder

    def argv(self, settings):
        return [os.path.join(HERE, self.script), self.folder, json.dumps(settings)]

    def client(self, settings):
        return LibraryClient(self, settings)

    def server(self, settings):
        return LibraryServer(self, settings)


class LibraryClient:
    def __init__(self, library, settings):
        self.title, self.argv = library.title, [library.interpreter, *library.argv(settings)]

    def open(self, port, path="/"):
        return Socket(self.title, self.argv, port, path, "rfc6455")


class LibraryServer(ScriptServer):
    """An echo server."""

    def __init__(self, library, settings):
        super().__init__(library.title, library.interpreter, library.script, *library.argv(settings)[1:], "serve")


def said(octets, name):
    """The value of a header in the head of one end; None where it is not there."""
    head = bytes(octets).partition(b"\r\n\r\n")[0].decode("latin-1") + "\r\n"
    found = re.findall(rf"^{name}: *(.*?)\r$", head, re.M | re.I)
    require(len(found) < 2, f"{name} stands {len(found)} times in {head!r}")
    return found[0] if found else None


class Seen:
    """A conversation on the wire, once it is over."""

    def __init__(self, tap):
        self.offer, self.answer = (said(octets, "Sec-WebSocket-Extensions") for octets in (tap.up, tap.down))
        self.coding = dict(zip(("client", "server"), codings(self.answer)))
        self.frames = {side: frames(tap.said(side)) for side in ("client", "server")}

    def sent(self, side, exactly=False):
        return messages(self.frames[side], self.coding[side], exactly)

    def holds(self, block, exactly=False):
        """Both ends have sent these messages, and compressed those that are long, unless they are random."""
        for side in ("client", "server"):
            made = self.sent(side, exactly)
            due = [as_sent(message) for message in block]
            lengths = [(one.kind, len(one.octets)) for one in made]
            require([one[:2] for one in made] == due, f"the {side} sends {shortly(lengths)}")
            for one in made:
                if not self.coding[side] or self.coding[side].bits < 9:
                    require(not one.compressed, f"the {side} compresses, and {self.answer} is agreed")
                elif len(one.octets) >= 1000 and one.octets != NOISE:
                    require(one.compressed, f"the {side} does not compress {len(one.octets)} octets")
                    require(one.size < len(one.octets), f"{len(one.octets)} octets of the {side} become {one.size}")
        closing = [side for side in ("client", "server") if self.frames[side][-1].opcode != CLOSE]
        require(not closing, f"the {' and the '.join(closing)} ends without a close")

    def agreed(self, offer, answer):
        require(self.offer == offer, f"the client offers {self.offer}, due is {offer}")
        require(self.answer == answer, f"the server answers {self.answer}, due is {answer}")


def as_sent(message):
    return ("text", message.encode()) if isinstance(message, str) else ("binary", message)


def converses(client, tap, block, in_pieces=False):
    """All messages go out, all come back, the client closes. With pieces, each third goes out in several frames."""
    socket = client.open(tap.port)
    try:
        expect(socket, "open")
        for count, message in enumerate(block, 1):
            if in_pieces and count % 3 == 0:
                socket.pieces(message)
            elif isinstance(message, str):
                socket.text(message)
            else:
                socket.binary(message)
        for message in block:
            kind = "text" if isinstance(message, str) else "binary"
            expect(socket, kind, message)
        socket.close()
        event = expect(socket, "closed")
        require(event.startswith("code 1000"), f"it is closed with {event!r}")
        tap.wait_ended()
    finally:
        socket.done()


# Clients of `heirloom serve`.


def echoed(client, port, offer, answer):
    in_pieces = isinstance(client, LibraryClient)
    tap = Tap(port)
    converses(client, tap, BLOCK, in_pieces)
    seen = Seen(tap)
    seen.agreed(offer, answer)
    seen.holds(BLOCK)
    if answer == f"{FRAME}; no_context_takeover":
        # It does not say so, but the server starts anew for each frame too.
        anew = seen.coding["server"]._replace(resets=True)
        messages(seen.frames["server"], anew)
    # Messages below the threshold stay as they are, and the others are one frame each.
    for one in seen.sent("server"):
        require(not one.compressed or len(one.octets) >= THRESHOLD, f"{len(one.octets)} octets are compressed")
        require(one.frames == 1, f"{len(one.octets)} octets become {one.frames} frames")
    if in_pieces:
        in_frames = [one.frames for one in seen.sent("client")][2::3]
        require(min(in_frames) > 1, f"each third message is in {in_frames} frames")


def window_block(bits):
    """Noise that repeats just outside a window of so many bits."""
    block = random.Random(bits).randbytes((1 << bits) + 300).hex()[: (1 << bits) + 300]
    return [block * 3]


def keeps_to_windows(library, binary):
    """Whatever window the client asks the server to keep to, it does. 8 cannot be kept to, and is declined."""
    for bits in range(8, 16):
        client = library.client({"server_max_window_bits": bits, "client_max_window_bits": max(bits, 9)})
        mode, flags = WINDOW_MODES[bits % 2]
        with Heirloom(binary, "--compression", mode) as server:
            tap = Tap(server.port)
            block = window_block(bits)
            converses(client, tap, block)
        seen = Seen(tap)
        due = f"{DEFLATE}{flags}; server_max_window_bits={bits}" if bits > 8 else None
        require(seen.answer == due, f"{seen.offer} is answered with {seen.answer}, due is {due}")
        seen.holds(block, exactly=True)


# Servers: of `heirloom gateway`, with a client that does not compress, and of `heirloom connect`.


def asked(client, library, settings, binary, mode, block=BLOCK, exactly=False):
    """The conversation of the gateway with its backend."""
    with library.server(settings) as server:
        tap = Tap(server.port)
        with Gateway(binary, tap.port, "--compression", mode, "--backend-compression", "always", path="") as gateway:
            converses(client, Tap(gateway.port), block, in_pieces=True)
            tap.wait_ended()
    seen = Seen(tap)
    require(seen.offer == OFFERS[mode], f"the gateway offers {seen.offer}")
    seen.holds(block, exactly)
    return seen


def answered(client, library, settings, binary, mode, answer):
    seen = asked(client, library, settings, binary, mode)
    require(seen.answer == answer, f"the server answers {seen.answer}, due is {answer}")


def dialled(library, settings, binary, mode, answer):
    """`heirloom connect`, which sends lines."""
    block = [message for message in BLOCK if isinstance(message, str) and message]
    with library.server(settings) as server:
        tap = Tap(server.port)
        options = [f"--compression={mode}", "--wait", "0"]
        client = Proc("heirloom connect", [binary, "connect", f"ws://127.0.0.1:{tap.port}/", *options])
        try:
            client.write("".join(f"{message}\n" for message in block).encode())
            for message in block:
                line = client.line()
                require(line == message.encode(), f"{shortly(message)} was due, {shortly(line)} came{client.talk()}")
            client.end_input()
            code = client.wait()
            require(code == 0, f"heirloom connect exits with {code}{client.talk()}")
            tap.wait_ended()
        finally:
            client.stop()
    seen = Seen(tap)
    seen.agreed(OFFERS[mode], answer)
    seen.holds(block)


def keeps_to_windows_of_server(client, library, binary):
    """As a client too; with a window of 8 it sends messages as they are."""
    for bits in range(8, 16):
        settings = {"server_max_window_bits": max(bits, 9), "client_max_window_bits": bits}
        mode, flags = WINDOW_MODES[bits % 2]
        seen = asked(client, library, settings, binary, mode, window_block(bits), exactly=True)
        resets = bool(flags)
        coding = {"server": Coding(False, resets, max(bits, 9)), "client": Coding(False, resets, bits)}
        require(seen.coding == coding, f"with windows of {bits} bits the server answers {seen.answer}")


# Both sides of a gateway.


def carried(client, library, settings, binary, mode, how):
    """`how` is what it is for the client and the backend: a column of the table."""
    with library.server(settings) as server:
        behind = Tap(server.port)
        with Gateway(binary, behind.port, "--compression", mode, "--backend-compression", "always", path="") as gateway:
            before = Tap(gateway.port)
            converses(client, before, BLOCK, isinstance(client, LibraryClient))
            behind.wait_ended()
    seen = [Seen(tap) for tap in (before, behind)]
    for one in seen:
        one.holds(BLOCK)
    answers = [one.answer for one in seen]
    if how in ("same", "other"):
        is_same = seen[0].coding == seen[1].coding
        require(all(answers) and is_same == (how == "same"), f"the answers are {answers}")
    else:
        due = ", ".join("compressed" if answer else "plain" for answer in answers)
        require(how == due, f"the answers are {answers}")
    if how == "same" and mode == "shared":
        # What is received of one end is what the other is sent.
        for side, (received, sent) in {"client": (0, 1), "server": (1, 0)}.items():
            pairs = zip(by_message(seen[received].frames[side]), by_message(seen[sent].frames[side]))
            kept = [(one, other) for one, other in pairs if is_kept(one)]
            require(kept, f"the {side} sends no message that is carried as it is")
            require(all(one == other for one, other in kept), f"messages of the {side} are not carried as they are")


def by_message(found):
    """The frames of each message."""
    gathered = []
    for frame in found:
        if frame.opcode < 8:
            if frame.opcode:
                gathered.append([])
            gathered[-1].append(frame)
    return gathered


def is_kept(message):
    """Whether a gateway with a limit of 16 MiB need not inflate it: it is one frame, and no octet becomes more than 1032."""
    return len(message) == 1 and message[0].rsv1 and len(message[0].payload) * 1032 <= 16 << 20


def check_served(report, binary, clients):
    """`clients` have a title, a client, its offer, and the answers by mode."""
    for mode in ("shared", "per-connection", "off"):
        with Heirloom(binary, "--compression", mode) as server:
            seen = set()
            for title, client, offer, answers in clients:
                if mode == "off" and title in seen:
                    continue  # its other offers change nothing
                seen.add(title)
                answer = answers.get(mode)
                row = report.row(title, "compressing client", mode, ticked(offer), ticked(answer))
                report.check(row, "messages", echoed, client, server.port, offer, answer)


def ticked(value):
    return f"`{value}`" if value else "none"


def check_compressed(report, binary, browsers, libraries):
    """`browsers` are Chromium and PhantomJS 2 by their titles, with what each offers; `libraries` ws and websockets."""
    clients = []
    for title, (browser, offer) in browsers.items():
        answers = {"shared": f"{DEFLATE}; {FLAGS}", "per-connection": DEFLATE}
        if offer == FRAME:
            answers = {"shared": f"{FRAME}; no_context_takeover", "per-connection": FRAME}
        clients.append((title, browser, offer, answers))
    for library in libraries:
        for settings, offer, more, flags in (
            ({}, f"{DEFLATE}; {WINDOW}", "", ""),
            (BOTH_FLAGS, f"{DEFLATE}; {FLAGS}; {WINDOW}", "", f"; {FLAGS}"),
            (
                {"server_max_window_bits": 10, WINDOW: 12},
                f"{DEFLATE}; server_max_window_bits=10; {WINDOW}=12",
                "; server_max_window_bits=10",
                "",
            ),
        ):
            answers = {"shared": f"{DEFLATE}; {FLAGS}{more}", "per-connection": f"{DEFLATE}{flags}{more}"}
            clients.append((library.title, library.client(settings), offer, answers))
    check_served(report, binary, clients)
    plain = libraries[0].client(None)
    for library in libraries:
        for mode in OFFERS:
            for settings, flags in (({}, ""), (BOTH_FLAGS, f"; {FLAGS}")):
                answer = f"{DEFLATE}; {FLAGS}" if mode == "shared" else f"{DEFLATE}{flags}"
                row = report.row(library.title, "compressing server", mode, ticked(OFFERS[mode]), ticked(answer))
                report.check(row, "messages", answered, plain, library, settings, binary, mode, answer)
                report.check(row, "connect", dialled, library, settings, binary, mode, answer)
        what = f"{library.title} asks for windows of 8 to 15 bits, and the server keeps to them"
        report.hold(what, keeps_to_windows, library, binary)
        what = f"{library.title} answers with windows of 8 to 15 bits, and the client keeps to them"
        report.hold(what, keeps_to_windows_of_server, plain, library, binary)
    for backend in libraries:
        for title, (browser, offer) in browsers.items():
            row = report.row(title, "compressing gateway", backend.title)
            check_carried(report, row, binary, browser, backend, offer == FRAME)
        for library in libraries:
            row = report.row(library.title, "compressing gateway", backend.title)
            compressing, silent = library.client({}), library.client(None)
            report.check(row, "plain, plain", carried, silent, backend, None, binary, "shared", "plain, plain")
            report.check(row, "plain, compressed", carried, silent, backend, {}, binary, "shared", "plain, compressed")
            check_carried(report, row, binary, compressing, backend, False)


def check_carried(report, row, binary, client, backend, per_frame):
    """A client that compresses."""
    report.check(row, "compressed, plain", carried, client, backend, None, binary, "shared", "compressed, plain")
    if not per_frame:
        report.check(row, "same", carried, client, backend, {}, binary, "shared", "same")
        report.check(row, "same, contexts", carried, client, backend, {}, binary, "per-connection", "same")
    windows = {**BOTH_FLAGS, "server_max_window_bits": 10, WINDOW: 11}
    report.check(row, "other", carried, client, backend, windows, binary, "per-connection", "other")
