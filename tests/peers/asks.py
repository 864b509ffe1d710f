"""What checks are made of."""

import contextlib

from procs import Failure

HELLO = "hello heirloom"
BEYOND_BMP = "h\u00e9llo \u20ac \u65e5\u672c \U0001f600 \U00010348 end"


def require(condition, message):
    if not condition:
        raise Failure(message)


def shortly(value):
    text = repr(value)
    return text if len(text) < 100 else f"{text[:60]}... ({len(value)} long)"


def expect(socket, event, more=None):
    got, what = socket.next()
    require(got == event, f"{event} was due, {got} came: {shortly(what)}")
    if more is not None:
        require(what == more, f"{event} {shortly(more)} was due, {shortly(what)} came")
    return what


@contextlib.contextmanager
def opened(client, port, path="/"):
    socket = client.open(port, path)
    try:
        expect(socket, "open")
        yield socket
    finally:
        socket.done()
