"""Peers that are a library and a few lines of its own language."""

import os

from procs import HERE, Failure, Proc


class ScriptSocket:
    """One connection, one process: orders in hex on stdin, events in hex on stdout."""

    def __init__(self, title, argv, port, path, version):
        self.proc = Proc(title, [*argv, str(port), path, version])
        self.frames = []  # what the script says that it sent

    def next(self):
        line = self.proc.line()
        if line is None:
            raise Failure(f"{self.proc.name} ends without a word{self.proc.talk()}")
        event, _, more = line.decode("ascii").partition(" ")
        if event == "frame":
            self.frames.append(bytes.fromhex(more))
            return self.next()
        if event == "text":
            return event, bytes.fromhex(more).decode("utf-8", "replace")
        if event in ("binary", "refused"):
            return event, bytes.fromhex(more)
        return event, more

    def text(self, message):
        self.proc.write(b"text " + message.encode().hex().encode() + b"\n")

    def binary(self, octets):
        self.proc.write(b"binary " + octets.hex().encode() + b"\n")

    def close(self, code=1000, reason=""):
        self.proc.write(b"close " + (code.to_bytes(2, "big") + reason.encode()).hex().encode() + b"\n")

    def done(self):
        self.proc.stop()


class ScriptClient:
    """A library as a client; `open` gives a connection."""

    def __init__(self, title, interpreter, script, version):
        self.title = title
        self.argv = [interpreter, os.path.join(HERE, script)]
        self.version = version

    def open(self, port, path="/"):
        return ScriptSocket(self.title, self.argv, port, path, self.version)


class ScriptServer(Proc):
    """A library as an echo server."""

    def __init__(self, title, interpreter, script, *more):
        super().__init__(title, [interpreter, os.path.join(HERE, script), *more], stdin=False)
        line = self.line() or b""
        if not line.startswith(b"listening "):
            raise Failure(f"{title} says {line!r} instead of where it listens{self.talk()}")
        self.port = int(line.split()[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def perl_client(name):
    return ScriptClient(f"Perl {name}", "/usr/bin/perl", "client.pl", name)


def ruby_client(number):
    return ScriptClient(f"Ruby {number}", "/usr/bin/ruby", "client.rb", str(number))
