"""Octets of our own, for what a browser or library does not say, or does not let see."""

import contextlib
import re
import socket

from asks import require, shortly
from procs import PATIENCE

HIXIE_75 = (
    "GET {target} HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nHost: {host}\r\n"
    "Origin: http://example.com\r\n{more}\r\n"
)
# The example of hixie-76.
HIXIE_76 = (
    "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nSec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n"
    "Upgrade: WebSocket\r\nSec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nOrigin: http://example.com\r\n{more}\r\n"
)
BODY_76, DIGEST_76 = b"^n:ds[4U", b"8jKS'y:G*Co,Wxa-"
# The example of RFC 6455.
RFC_6455 = (
    "GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
)


class Raw:
    """One connection; what it asks is a head above."""

    def __init__(self, port, source="127.0.0.1", tls=None, to="127.0.0.1"):
        self.host = f"panel.example:{port}"
        self.socket = socket.create_connection((to, port), PATIENCE, (source, 0))
        if tls:
            self.socket = tls.wrap_socket(self.socket)
        self.got = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, octets):
        self.socket.sendall(octets)

    def ask(self, head, target="/", more="", body=b""):
        self.send(head.format(target=target, host=self.host, more=more).encode() + body)

    def head(self):
        return self.until(b"\r\n\r\n").decode("latin-1")

    def until(self, end):
        while end not in self.got:
            self._more(f"until {end!r}")
        found, _, self.got = self.got.partition(end)
        return found + end

    def rest(self):
        """All until TCP ends."""
        with contextlib.suppress(ConnectionResetError):
            while data := self.socket.recv(65536):
                self.got += data
        return self.got

    def octets(self, count):
        while len(self.got) < count:
            self._more(f"for {count} octets")
        found, self.got = self.got[:count], self.got[count:]
        return found

    def _more(self, why):
        data = self.socket.recv(65536)
        require(data, f"TCP ends while we read {why}; there is {shortly(self.got)}")
        self.got += data

    def hixie_text(self, text):
        """Says a text in hixie framing and reads the next."""
        self.send(b"\0" + text.encode() + b"\xff")
        octets = self.until(b"\xff")
        require(octets[0] == 0, f"the frame begins {octets[:8].hex()}")
        return octets[1:-1].decode()


def header(head, name):
    found = re.findall(rf"^{re.escape(name)}: *(.*)\r$", head, re.M | re.I)
    require(len(found) == 1, f"{name} stands {len(found)} times in {head!r}")
    return found[0]
