"""Hundreds of clients in one thread: each says a text, waits until it comes back, and connects again where it is cut off.

A text that has come back is acknowledged; one that has not is said again on the next connection.
"""

import asyncio
import collections
import random
import ssl
import threading
import time

from asks import require
from procs import PATIENCE
from raw import BODY_76, DIGEST_76, HIXIE_75, HIXIE_76, RFC_6455

HEADS = {
    "hixie-75": HIXIE_75,
    "hixie-76": HIXIE_76,
    "hybi-08": RFC_6455.replace("Version: 13", "Version: 8"),
    "rfc6455": RFC_6455,
}
PACE_SECONDS = 1.0  # between two texts of a client
RETURN_SECONDS = 0.05, 0.3  # until a client that was cut off connects again
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class Refused(Exception):
    """The answer to the handshake is no 101; the status."""


class Ended(Exception):
    """The connection is over; how."""


class Wire:
    """One connection, and the frames of its version."""

    def __init__(self, version, reader, writer):
        self.hixie = version.startswith("hixie")
        self.reader, self.writer, self.got = reader, writer, b""

    async def more(self):
        try:
            octets = await self.reader.read(65536)
        except OSError as e:
            raise Ended(type(e).__name__) from e
        if not octets:
            raise Ended("eof")
        self.got += octets

    async def take(self, end=None, count=0):
        """Until this end, or so many octets."""
        while (end not in self.got) if end else len(self.got) < count:
            await self.more()
        count = self.got.index(end) + len(end) if end else count
        found, self.got = self.got[:count], self.got[count:]
        return found

    def send(self, kind, payload):
        if self.hixie:
            self.writer.write(b"\xff\0" if kind == CLOSE else b"\0" + payload + b"\xff")
        else:
            # The mask is four zeros.
            self.writer.write(bytes((0x80 | kind, 0x80 | len(payload))) + bytes(4) + payload)

    async def frame(self):
        first = (await self.take(count=1))[0]
        if self.hixie:
            if first == 0xFF:
                await self.take(count=1)
                return CLOSE, b""
            return TEXT, (await self.take(end=b"\xff"))[:-1]
        length = (await self.take(count=1))[0]
        require(length < 126, f"a frame has the length {length}")
        return first & 15, await self.take(count=length)


class Member:
    def __init__(self, crowd, number, version, secure):
        self.crowd, self.number, self.version, self.secure = crowd, number, version, secure
        self.said = 0
        self.wire = self.certificate = self.due = None

    async def live(self):
        while not self.crowd.leaving.is_set():
            writer = None
            try:
                tls = self.crowd.tls if self.secure else None
                reader, writer = await asyncio.open_connection("127.0.0.1", self.crowd.port, ssl=tls)
                await self.greet(Wire(self.version, reader, writer))
                await self.talk()
            except Refused as e:
                self.crowd.refused[e.args[0]] += 1
            except Ended as e:
                if self.wire:
                    self.crowd.ends.append((time.monotonic(), self.version, e.args[0]))
                else:
                    self.crowd.refused[e.args[0]] += 1
            except OSError as e:
                self.crowd.refused[type(e).__name__] += 1
            self.wire = None
            if writer:
                writer.close()
            if not self.crowd.leaving.is_set():
                await asyncio.sleep(random.uniform(*RETURN_SECONDS))

    async def greet(self, wire):
        if self.secure:
            self.certificate = wire.writer.get_extra_info("ssl_object").getpeercert(True)
        head = HEADS[self.version].format(target=f"/{self.number}", host=f"127.0.0.1:{self.crowd.port}", more="")
        wire.writer.write(head.encode() + (BODY_76 if self.version == "hixie-76" else b""))
        answer = (await wire.take(end=b"\r\n\r\n")).decode("latin-1")
        if not answer.startswith("HTTP/1.1 101 "):
            raise Refused(answer[9:12])
        if self.version == "hixie-76":
            digest = await wire.take(count=16)
            require(digest == DIGEST_76, f"the proof is {digest!r}")
        self.wire = wire
        self.crowd.opened[self.version] += 1

    async def talk(self):
        """Until the connection ends."""
        loop = asyncio.get_running_loop()
        # Not all in the same moment.
        at, self.due, reading = loop.time() + random.uniform(0, PACE_SECONDS), None, None
        try:
            while True:
                if self.due is None and loop.time() >= at:
                    self.due, at = f"{self.number}-{self.said}", loop.time() + PACE_SECONDS
                    self.wire.send(TEXT, self.due.encode())
                reading = reading or asyncio.ensure_future(self.wire.frame())
                wait = None if self.due else max(0.05, at - loop.time())
                await asyncio.wait([reading], timeout=wait)
                if reading.done():
                    kind, payload = reading.result()
                    reading = None
                    await self.hears(kind, payload)
        finally:
            self.due = None
            if reading:
                reading.cancel()

    async def hears(self, kind, payload):
        if kind == PING:
            self.wire.send(PONG, payload)
        elif kind == CLOSE:
            self.wire.send(CLOSE, payload)
            # The server ends TCP.
            while True:
                try:
                    await self.wire.more()
                except Ended:
                    raise Ended(f"close {payload[:2].hex() or 'ff00'}") from None
        elif kind == TEXT:
            require(payload.decode() == self.due, f"{self.due} was due, {payload!r} came")
            self.crowd.acknowledged.append(self.due)
            self.said += 1
            self.due = None


class Crowd:
    def __init__(self, port, counts):
        """`counts` says how many there are of each version, with TLS or without."""
        self.port = port
        # Any certificate: it is renewed meanwhile, and the test looks at it.
        self.tls = ssl.create_default_context()
        self.tls.check_hostname, self.tls.verify_mode = False, ssl.CERT_NONE
        self.opened, self.refused = collections.Counter(), collections.Counter()
        self.ends, self.acknowledged, self.faults = [], [], []
        self.leaving = threading.Event()
        kinds = [kind for kind, count in counts.items() for _ in range(count)]
        self.members = [Member(self, number, *kind) for number, kind in enumerate(kinds)]
        self.thread = threading.Thread(target=lambda: asyncio.run(self._all()), daemon=True)
        self.thread.start()

    async def _all(self):
        # The machine's queue of connections is not what is tested.
        async def one(member):
            await asyncio.sleep(member.number * 0.002)
            try:
                await member.live()
            except Exception as e:
                self.faults.append(f"client {member.number}, {member.version}: {e!r}")

        await asyncio.gather(*map(one, self.members))

    def wait(self, what, holds, patience=PATIENCE):
        until = time.monotonic() + patience
        while not holds():
            require(not self.faults, "; ".join(self.faults[:3]))
            require(time.monotonic() < until, f"{what}: not after {patience:.0f} s: {self.state()}")
            time.sleep(0.02)

    def state(self):
        away = [f"{m.number} {m.version}" for m in self.members if not m.wire]
        return f"{len(away)} are not connected ({away[:3]}), refused were {dict(self.refused)}"

    def all_answered(self, patience=PATIENCE):
        """Each is connected, and has got one more text back."""
        said = [member.said for member in self.members]
        self.wait(
            "all are connected and get their texts back",
            lambda: all(m.wire and m.said > before for m, before in zip(self.members, said)),
            patience,
        )

    def end(self):
        """After the server's close they do not come back; how each ended."""
        self.thread.join(PATIENCE)
        require(not self.thread.is_alive(), f"the clients do not end: {self.state()}")
        require(not self.faults, "; ".join(self.faults[:3]))
