"""Frames as they lie on the wire, and the messages in them, inflated by Python's zlib."""

import zlib
from typing import NamedTuple

from asks import require
from procs import Failure

TEXT, BINARY, CLOSE = 1, 2, 8


class Frame(NamedTuple):
    final: bool
    rsv1: bool
    opcode: int
    payload: bytes


class Coding(NamedTuple):
    """How one end compresses."""

    per_frame: bool = False
    resets: bool = False
    bits: int = 15


class Sent(NamedTuple):
    """A message."""

    kind: str
    octets: bytes
    compressed: bool
    frames: int
    # What its payload takes on the wire.
    size: int


def unmasked(payload, key):
    count = len(payload)
    mask = (key * (count // 4 + 1))[:count]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")).to_bytes(count, "big")


def frames(octets):
    """The frames of one end in the layout of RFC 6455."""
    found, at = [], 0
    while at < len(octets):
        first, second = octets[at], octets[at + 1]
        at += 2
        length, masked = second & 127, second & 128
        extended = {126: 2, 127: 8}.get(length, 0)
        if extended:
            length = int.from_bytes(octets[at : at + extended], "big")
            at += extended
        require(not first & 0x30, f"RSV2 or RSV3 is set in {first:02x}")
        key = octets[at : at + 4]
        at += 4 if masked else 0
        payload = octets[at : at + length]
        require(len(payload) == length, f"the last frame has {len(payload)} of {length} octets")
        at += length
        payload = unmasked(payload, key) if masked else payload
        found.append(Frame(bool(first & 0x80), bool(first & 0x40), first & 15, payload))
    return found


def codings(answer):
    """How the client and the server compress by this value of the header; None for both where there is none."""
    if answer is None:
        return None, None
    name, *parameters = (part.strip() for part in answer.split(";"))
    given = dict((parameter.split("=", 1) + [None])[:2] for parameter in parameters)
    if name == "x-webkit-deflate-frame":
        client = Coding(True, "no_context_takeover" in given, int(given.get("max_window_bits", 15)))
        return client, Coding(True)
    require(name == "permessage-deflate", f"the extension is {name}")
    client, server = (
        Coding(False, f"{side}_no_context_takeover" in given, int(given.get(f"{side}_max_window_bits", 15)))
        for side in ("client", "server")
    )
    return client, server


class Inflater:
    """Inflates what one end has compressed. `exactly` refuses every distance beyond the window, and is slow."""

    def __init__(self, coding, exactly=False):
        self.coding, self.exactly = coding, exactly
        self.zlib = None

    def inflate(self, payload):
        if self.coding.resets or not self.zlib:
            self.zlib = zlib.decompressobj(-self.coding.bits)
        payload += b"\0\0\xff\xff"
        try:
            octets = self._step_by_step(payload) if self.exactly else self.zlib.decompress(payload)
        except zlib.error as e:
            raise Failure(f"zlib, with a window of {self.coding.bits} bits: {e}")
        require(not self.zlib.unconsumed_tail, "compressed data is left")
        # A block that says that it is the last ends the stream, not the conversation.
        self.zlib = None if self.zlib.eof else self.zlib
        return octets

    def _step_by_step(self, payload):
        """zlib also takes a distance that reaches back into the output of one call: each call makes one octet here."""
        made = []
        for at in range(0, len(payload), 64):
            rest = payload[at : at + 64]
            while rest or made and made[-1]:
                made.append(self.zlib.decompress(rest, 1))
                rest = self.zlib.unconsumed_tail
        return b"".join(made)


def messages(found, coding, exactly=False):
    """The messages in the frames of one end."""
    inflater = Inflater(coding, exactly) if coding else None
    made, parts = [], []
    for frame in found:
        if frame.opcode >= 8:
            require(not frame.rsv1, f"RSV1 is set in a control frame with the opcode {frame.opcode}")
            continue
        require(not frame.rsv1 or coding, "RSV1 is set, and no extension is agreed")
        require((frame.opcode == 0) == bool(parts), f"a frame with the opcode {frame.opcode} comes after {len(parts)} others")
        require(not frame.rsv1 or not parts or coding.per_frame, "RSV1 is set in a continuation")
        parts.append(frame)
        if not frame.final:
            continue
        compressed = any(part.rsv1 for part in parts)
        joined = b"".join(part.payload for part in parts)
        octets = joined
        if compressed and coding.per_frame:
            octets = b"".join(inflater.inflate(part.payload) if part.rsv1 else part.payload for part in parts)
        elif compressed:
            octets = inflater.inflate(joined)
        kind = {TEXT: "text", BINARY: "binary"}[parts[0].opcode]
        made.append(Sent(kind, octets, compressed, len(parts), len(joined)))
        parts = []
    require(not parts, "the last message is not finished")
    return made
