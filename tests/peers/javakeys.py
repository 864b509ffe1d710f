"""A client with the keys of Java-WebSocket 1.3.0, which draws octets from 33 to 127 between the digits of a key."""

import hashlib
import random
import re

from asks import HELLO, require
from gateways import Gateway
from procs import Heirloom
from raw import Raw

CLIENTS = 300
# The names of the headers in the order of a sorted map.
HEAD = (
    "GET {{target}} HTTP/1.1\r\nConnection: Upgrade\r\nHost: {{host}}\r\nOrigin: random{origin}\r\n"
    "Sec-WebSocket-Key1: {one}\r\nSec-WebSocket-Key2: {two}\r\nUpgrade: WebSocket\r\n\r\n"
)


def key(drawn):
    """Draft_76.generateKey, statement by statement."""
    while True:
        spaces = drawn.randrange(12) + 1
        # One space: 4294967295 is -1 as an int, and its absolute value 1.
        most = 1 if spaces == 1 else 4294967295 // spaces
        text = str((drawn.randrange(most) + 1) * spaces)
        for _ in range(drawn.randrange(12)):
            at = drawn.randrange(len(text))
            octet = drawn.randrange(95) + 33
            if 48 <= octet <= 57:
                octet -= 15
            text = text[:at] + chr(octet) + text[at:]
        if len(text) == 1:
            continue  # nextInt(0) throws in Java
        for _ in range(spaces):
            at = drawn.randrange(len(text) - 1) + 1
            text = text[:at] + " " + text[at:]
        return text


def number(text):
    """What the client takes its own key for."""
    return int(re.sub("[^0-9]", "", text)) // text.count(" ")


def opens(port, one, two, drawn):
    body = drawn.randbytes(8)
    with Raw(port) as raw:
        # Braces stand for themselves in a key.
        one_in, two_in = (text.replace("{", "{{").replace("}", "}}") for text in (one, two))
        raw.ask(HEAD.format(origin=drawn.randrange(-1 << 31, 1 << 31), one=one_in, two=two_in), body=body)
        head = raw.head()
        require(head.startswith("HTTP/1.1 101 "), f"keys {one!r} and {two!r} get {head[:200]!r}")
        due = hashlib.md5(number(one).to_bytes(4, "big") + number(two).to_bytes(4, "big") + body).digest()
        proof = raw.octets(16)
        require(proof == due, f"the proof of {one!r} and {two!r} is wrong")
        require(raw.hixie_text(HELLO) == HELLO, "no echo")


def all_open(port):
    # The same keys in each run.
    drawn = random.Random(130)
    keys = [(key(drawn), key(drawn)) for _ in range(CLIENTS)]
    for what, pattern in (("DEL", "\x7f"), ("a colon", ":"), ("a key without any", "^[0-9 ]+$")):
        count = sum(bool(re.search(pattern, one) or re.search(pattern, two)) for one, two in keys)
        require(count > 3, f"{count} of the keys have {what}")
    for one, two in keys:
        opens(port, one, two, drawn)


def check_java_keys(report, binary, backend):
    what = f"{CLIENTS} clients with the keys of Java-WebSocket 1.3.0 open and echo"
    with Heirloom(binary) as server:
        report.hold(f"serve: {what}", all_open, server.port)
    with Gateway(binary, backend.port) as gateway:
        report.hold(f"gateway: {what}", all_open, gateway.port)
