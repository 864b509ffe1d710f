"""txWS, for Twisted, as a server of `heirloom connect`, and as the backend of `heirloom gateway --as hixie-76`."""

import os
import subprocess

from asks import BEYOND_BMP, HELLO, MIB_TEXT, require, shortly
from gateways import Gateway
from procs import HERE, PATIENCE, Proc, clean_env
from raw import RFC_6455, Raw

ROW_OF_200 = [f"message {i} \u00e9" for i in range(200)]
# txWS reads the eight octets of hixie-76 as UTF-8. Where that fails it drops the connection, and where a character has
# several octets its proof is wrong. So it takes ASCII only, which comes once in 256 handshakes.
ATTEMPTS = 4000


class TxWS(Proc):
    def __init__(self, folder):
        # Debian's Python has Debian's Twisted.
        argv = ["/usr/bin/python3", os.path.join(HERE, "txws_server.py")]
        super().__init__("txWS", argv, {"PYTHONPATH": folder}, stdin=False)
        line = self.line() or b""
        require(line.startswith(b"listening "), f"txWS says {line!r} instead of where it listens{self.talk()}")
        self.port = int(line.split()[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def connect(binary, port, version, messages):
    """Exit code, the messages that came back, and standard error."""
    done = subprocess.run(
        [binary, "connect", f"ws://127.0.0.1:{port}/", "--as", version],
        input="".join(message + "\n" for message in messages).encode(),
        capture_output=True,
        env=clean_env(),
        timeout=PATIENCE,
    )
    return done.returncode, done.stdout.decode("utf-8", "replace").splitlines(), done.stderr.decode("utf-8", "replace")


def drops_most(binary, port, messages, seen):
    """The handshakes that txWS does not take are told as such; the first that it takes is a conversation, and `seen` of it."""
    dropped = 0
    while True:
        code, lines, talk = connect(binary, port, "hixie-76", messages)
        if code != 4:
            break
        known = "without an answer" in talk or "digest-mismatch: " in talk
        require(known, f"heirloom connect says {talk[-300:]!r} of a handshake that txWS does not take")
        dropped += 1
        require(dropped < ATTEMPTS, f"{dropped} handshakes in a row fail")
    require(dropped, "txWS takes the first handshake: it may take any octets now")
    seen.extend([code, lines, talk])


def is_not_answered(code, talk):
    due = (5, "heirloom: the server did not answer our close in time (--close-timeout-ms)\n")
    require((code, talk) == due, f"heirloom connect exits with {code}: {talk[-300:]!r}")


def same(got, due):
    require(got == due, f"{shortly(due)} was due, {shortly(got)} came")


def opens_only(binary, server, version):
    """The handshake is right; at the first masked frame txWS calls what Python 3.9 removed, and drops the connection."""
    code, lines, talk = connect(binary, server.port, version, [HELLO])
    require(lines == [], f"it replies {shortly(lines)}: its unmasking works now")
    require((code, "connection-cut: " in talk) == (1, True), f"heirloom connect exits with {code}: {talk[-300:]!r}")
    server.wait_to_say("has no attribute 'tostring'")


def opens(binary, server, version):
    """Without a message, and until we close."""
    with Raw(server.port) as raw:
        raw.ask(RFC_6455.replace("Version: 13", f"Version: {version}"))
        head = raw.head()
    require("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head, f"the answer is {head!r}")


def is_a_backend(binary, server):
    """The gateway's clients get 502 for the handshakes that txWS does not take; one that it takes is a conversation."""
    with Gateway(binary, server.port, "--as", "hixie-76", path="/") as gateway:
        for attempt in range(ATTEMPTS):
            with Raw(gateway.port) as raw:
                raw.ask(RFC_6455)
                head = raw.head()
                if head.startswith("HTTP/1.1 502 "):
                    continue
                require(head.startswith("HTTP/1.1 101 "), f"the client gets {head!r}")
                require(attempt, "txWS takes the first handshake: it may take any octets now")
                raw.send(b"\x81\x85\0\0\0\0hello")
                reply = raw.octets(7)
                require(reply == b"\x81\x05hello", f"the client gets {reply!r}")
                raw.send(b"\x88\x82\0\0\0\0\x03\xe8")
                reply = raw.octets(4)
                require(reply == b"\x88\x02\x03\xe8", f"the close is answered with {reply!r}")
                return
    require(False, f"{ATTEMPTS} handshakes in a row fail")


def check_txws(report, binary, folder, peer, differences):
    row = report.row(peer, "server", "hixie-76")
    differences[row] = (
        "it reads the eight octets as UTF-8 and takes ASCII only, so 255 of 256 handshakes fail; it does not answer FF 00"
    )
    seen = []
    messages = [HELLO, BEYOND_BMP, MIB_TEXT, *ROW_OF_200]
    with TxWS(folder) as server:
        if report.check(row, "connects", drops_most, binary, server.port, messages, seen, differs=True):
            code, replies, talk = seen
            report.check(row, "text", same, replies[:1], [HELLO])
            report.check(row, "UTF-8", same, replies[1:2], [BEYOND_BMP])
            report.check(row, "1 MiB", same, replies[2:3], [MIB_TEXT])
            report.check(row, "200", same, replies[3:], ROW_OF_200)
            report.check(row, "closes", is_not_answered, code, talk, differs=True)
    for number, version in ((7, "hybi-07"), (8, "hybi-08"), (13, "rfc6455")):
        row = report.row(peer, "server", version)
        differences[row] = "it cannot unmask on Python 3.9 or later"
        with TxWS(folder) as server:
            report.check(row, "connects", opens, binary, server, number)
            report.check(row, "text", opens_only, binary, server, version, differs=True)
    with TxWS(folder) as server:
        report.hold("gateway, --as hixie-76: txWS behind it", is_a_backend, binary, server)
