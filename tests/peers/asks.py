"""What checks are made of."""

import contextlib

from procs import Failure

HELLO = "hello heirloom"
BEYOND_BMP = "h\u00e9llo \u20ac \u65e5\u672c \U0001f600 \U00010348 end"
MIB_TEXT = "".join(f"{i:07d} " for i in range(1 << 17))
MIB_OCTETS = bytes(i * 31 % 251 for i in range(1 << 20))


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


def echoes(client, port, *messages):
    with opened(client, port) as socket:
        for message in messages:
            socket.text(message)
        for message in messages:
            expect(socket, "text", message)


def echoes_binary(client, port):
    with opened(client, port) as socket:
        socket.binary(MIB_OCTETS)
        expect(socket, "binary", MIB_OCTETS)


class Checks:
    """Each check is a line, and is counted."""

    def __init__(self):
        self.passed = self.failed = 0

    def hold(self, what, function, *args, server=None):
        try:
            function(*args)
        except (Failure, OSError, ValueError, KeyError) as e:
            self.failed += 1
            print(f"FAIL  {what}\n      {e if isinstance(e, Failure) else repr(e)}{server() if server else ''}", flush=True)
            return False
        self.passed += 1
        print(f"ok    {what}", flush=True)
        return True
