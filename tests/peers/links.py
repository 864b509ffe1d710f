"""Clients whose link is taken down: the server and the clients are in network namespaces of their own."""

import contextlib
import ctypes
import os
import socket
import subprocess
import threading
import time

from asks import require
from procs import PATIENCE, Heirloom, Proc, clean_env
from raw import BODY_76, HIXIE_76, RFC_6455, Raw

SERVER, CLIENT = "10.76.0.1", "10.76.0.2"
IDLE_MS = 2000
CLONE_NEWNET = 0x40000000


def ip(*argv):
    done = subprocess.run(["ip", *argv], capture_output=True, text=True, env=clean_env(), timeout=PATIENCE)
    require(done.returncode == 0, f"`ip {' '.join(argv)}` says {done.stderr.strip()!r}; this needs root and iproute2")


class Net:
    """Two machines and a cable."""

    def __init__(self):
        self.near, self.far = (f"heirloom-{os.getpid()}-{side}" for side in ("near", "far"))

    def __enter__(self):
        try:
            for name in (self.near, self.far):
                ip("netns", "add", name)
                ip("-n", name, "link", "set", "lo", "up")
            ip("-n", self.near, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", self.far)
            for name, address in ((self.near, SERVER), (self.far, CLIENT)):
                ip("-n", name, "address", "add", f"{address}/30", "dev", "wire")
                ip("-n", name, "link", "set", "wire", "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in (self.near, self.far):
            # The first may be all that there is.
            subprocess.run(["ip", "netns", "del", name], capture_output=True, env=clean_env(), timeout=PATIENCE)

    def cut(self):
        ip("-n", self.far, "link", "set", "wire", "down")

    def within(self, name, function, *args):
        """What the function gives, called in a namespace. A socket stays where it was made."""
        found = []

        def call():
            try:
                with open(f"/run/netns/{name}", "rb") as f:
                    done = ctypes.CDLL(None, use_errno=True).setns(f.fileno(), CLONE_NEWNET)
                require(done == 0, f"no way into {name}: {os.strerror(ctypes.get_errno())}")
                found.append(function(*args))
            except Exception as e:
                found.append(e)

        # The namespace is the thread's.
        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        thread.join(PATIENCE)
        require(found, f"nothing comes of {function} in {name}")
        if isinstance(found[0], Exception):
            raise found[0]
        return found[0]


class Near(Heirloom):
    """A server of heirloom in the near namespace."""

    def __init__(self, net, binary, *options, subcommand, host):
        argv = ["ip", "netns", "exec", net.near, binary, subcommand, "--listen", f"{host}:0", *options]
        Proc.__init__(self, f"heirloom {subcommand}", argv, stdin=False)
        Heirloom.latest = self
        line = (self.line() or b"").decode()
        require(line.startswith(f"listening on ws://{host}:"), f"{self.name} says {line!r}{self.talk()}")
        self.port = int(line.rstrip("/").rsplit(":", 1)[1])


def opened(raw, version, target="/chat"):
    """An open connection."""
    if version == "hixie-76":
        raw.ask(HIXIE_76, target, body=BODY_76)
    else:
        raw.ask(RFC_6455, target)
    head = raw.head()
    require(head.startswith("HTTP/1.1 101 "), f"the answer is {head!r}")
    if version == "hixie-76":
        raw.octets(16)


class Talker:
    """A client beside the server that sends to the topic all the time, so that there is something to acknowledge."""

    def __init__(self, net, port):
        self.raw = net.within(net.near, Raw, port, SERVER, None, SERVER)
        opened(self.raw, "rfc6455")
        self.enough = threading.Event()
        self.thread = threading.Thread(target=self._talk, daemon=True)
        self.thread.start()

    def _talk(self):
        with contextlib.suppress(OSError):
            while not self.enough.wait(0.1):
                self.raw.send(b"\x81\x84\0\0\0\0news")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.enough.set()
        self.thread.join(PATIENCE)
        self.raw.socket.close()


def hears(raw, version):
    """A text that came over the link."""
    due = b"\0news\xff" if version == "hixie-76" else b"\x81\x04news"
    raw.until(due)


def ends_through_gateway(binary, version):
    idle = ["--idle-timeout-ms", str(IDLE_MS)]
    with Net() as net:
        # The server behind it stays on its own machine.
        with Near(net, binary, subcommand="serve", host=SERVER) as backend:
            to = f"ws://{SERVER}:{backend.port}/chat"
            with Near(net, binary, "--to", to, *idle, subcommand="gateway", host=SERVER) as gateway:
                with Talker(net, backend.port), net.within(net.far, Raw, gateway.port, CLIENT, None, SERVER) as raw:
                    opened(raw, version)
                    hears(raw, version)
                    net.cut()
                    line = (gateway.line() or b"").decode()
    for due in (f" client={CLIENT}:", f" version={version} ", " state=open ", " ended=idle-timeout "):
        require(due in line, f"the access line has no {due!r}: {line!r}")


def connections_to_far():
    """How many connections to the client the system of the calling thread has open."""
    far = socket.inet_aton(CLIENT)[::-1].hex().upper()
    with open("/proc/thread-self/net/tcp", encoding="ascii") as f:
        lines = [line.split() for line in f]
    return sum(line[2].startswith(far) and line[3] == "01" for line in lines)


def ends_at_server(binary, version):
    """`serve` has no access line: its system no longer has the connection open."""
    with Net() as net:
        options = ["--idle-timeout-ms", str(IDLE_MS), "--close-timeout-ms", "500"]
        with Near(net, binary, *options, subcommand="serve", host=SERVER) as server:
            with Talker(net, server.port), net.within(net.far, Raw, server.port, CLIENT, None, SERVER) as raw:
                opened(raw, version)
                hears(raw, version)
                net.cut()
                until = time.monotonic() + PATIENCE
                count = net.within(net.near, connections_to_far)
                require(count == 1, f"{count} connections are open where the link goes down")
                while net.within(net.near, connections_to_far):
                    require(time.monotonic() < until, f"the connection is still open after {PATIENCE:.0f} s")
                    time.sleep(0.05)


def check_links(report, binary):
    for version in ("rfc6455", "hixie-76"):
        what = f"{version} behind a link that is taken down"
        report.hold(f"gateway: {what} ends as idle-timeout", ends_through_gateway, binary, version)
        report.hold(f"serve: {what} is ended", ends_at_server, binary, version)
