"""A relay that keeps what passes: what the wire shows and a browser does not tell."""

import socket
import threading

from procs import PATIENCE, Failure


class Tap:
    """Relays one connection to `port` on loopback."""

    def __init__(self, port):
        self.target = port
        self.up = bytearray()  # from the client
        self.down = bytearray()  # from the server
        self.ended = []  # "client" and "server", in the order in which they ended TCP; with " by reset" where it was one
        self._done = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        finally:
            self._listener.close()
        try:
            server = socket.create_connection(("127.0.0.1", self.target), PATIENCE)
        except OSError:
            client.close()
            return
        for sock in (client, server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(None)
        back = threading.Thread(target=self._copy, args=("server", server, client, self.down), daemon=True)
        back.start()
        self._copy("client", client, server, self.up)
        back.join()
        client.close()
        server.close()

    def _copy(self, who, source, sink, kept):
        how = ""
        while True:
            try:
                data = source.recv(65536)
            except OSError:
                data, how = b"", " by reset"
            if not data:
                break
            kept += data
            try:
                sink.sendall(data)
            except OSError:
                break
        with self._done:
            if who == "client" and has_ended(sink):
                # The server did not wait for the client, even where the other thread has yet to notice.
                self._done.wait_for(lambda: self.ended, PATIENCE)
            self.ended.append(who + how)
            self._done.notify_all()
        try:
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def wait_ended(self):
        with self._done:
            if not self._done.wait_for(lambda: len(self.ended) == 2, PATIENCE):
                raise Failure(f"TCP stays open; ended so far: {self.ended}")

    def request(self):
        return bytes(self.up).partition(b"\r\n\r\n")[0].decode("latin-1")

    def version(self):
        """The version which the request asks for, by its own headers."""
        names = {}
        for line in self.request().split("\r\n")[1:]:
            name, _, value = line.partition(":")
            names[name.lower()] = value.strip()
        if "sec-websocket-version" in names:
            return names["sec-websocket-version"]
        if "sec-websocket-draft" in names:
            return "draft " + names["sec-websocket-draft"]
        return "76" if "sec-websocket-key1" in names else "75"

    def said(self, who):
        """What one side sent after its head, and after the octets which follow a head in hixie-76."""
        octets = bytes(self.up if who == "client" else self.down).partition(b"\r\n\r\n")[2]
        proof = (8 if who == "client" else 16) if self.version() in ("76", "draft 1", "draft 2", "draft 3") else 0
        return octets[proof:]


def has_ended(sock):
    """Whether the end of TCP is what comes next."""
    try:
        return sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except OSError:
        return False


def close_code(octets):
    """The code of the closing frame that ends `octets` in the layout of RFC 6455; None where there is none."""
    masked, plain = octets[-8:], octets[-4:]
    if len(masked) == 8 and masked[:2] == b"\x88\x82":
        return int.from_bytes(bytes(a ^ b for a, b in zip(masked[6:], masked[2:])), "big")
    if len(plain) == 4 and plain[:2] == b"\x88\x02":
        return int.from_bytes(plain[2:], "big")
    # A frame with a reason, alone on the wire.
    if len(octets) > 4 and octets[0] == 0x88 and octets[1] == len(octets) - 2:
        return int.from_bytes(octets[2:4], "big")
    return None
