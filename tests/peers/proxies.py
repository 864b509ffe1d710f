"""What stands before a gateway: Debian's HAProxy and nginx, with the settings of docs/deployment.md and ports of this run."""

import contextlib
import os
import random
import socket
import tempfile
import time

from asks import require
from procs import HERE, PATIENCE, WORK, Failure, Proc


def free_port():
    """A port that nothing listens on, below those that the kernel gives to clients."""
    while True:
        port = random.randrange(20000, 32000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def wait_until_listening(proc, port):
    """Without a connection, which whoever stands behind would see."""
    until = time.monotonic() + PATIENCE
    while True:
        with open("/proc/net/tcp", encoding="ascii") as f:
            listening = {int(line.split()[1].split(":")[1], 16) for line in f if line.split()[3] == "0A"}
        if port in listening:
            return
        if time.monotonic() > until or proc.popen.poll() is not None:
            raise Failure(f"{proc.name} does not listen on {port}{proc.talk()}")
        time.sleep(0.02)


class Proxy(Proc):
    def __init__(self, name, argv, port):
        super().__init__(name, argv, stdin=False)
        self.port = port
        wait_until_listening(self, port)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def settings(template, replaced):
    """A file with the template, where other words stand in place of its own."""
    with open(os.path.join(HERE, template), encoding="utf-8") as f:
        text = f.read()
    for word, other in replaced.items():
        require(word in text, f"{word} is not in {template}")
        text = text.replace(word, other)
    return written(text)


def written(text):
    with tempfile.NamedTemporaryFile("w", prefix="settings-", dir=WORK, delete=False, encoding="utf-8") as f:
        f.write(text)
    return f.name


# The block of nginx.conf around settings for HTTP.
FOLDERS = " ".join(f"{name}_temp_path {{path}}.{name};" for name in "client_body proxy fastcgi uwsgi scgi".split())
HTTP = f"http {{{{ access_log off; {FOLDERS} include {{path}}; }}}}"


class Debian:
    """HAProxy and nginx, where their packages are unpacked."""

    def __init__(self, folder):
        self.folder = folder

    def haproxy(self, gateway):
        port = free_port()
        return self.haproxy_with(settings("haproxy.cfg", {":8000": f":{port}", ":8076": f":{gateway}"}), port)

    def haproxy_with(self, path, port):
        return Proxy("haproxy", [os.path.join(self.folder, "usr/sbin/haproxy"), "-db", "-f", path], port)

    def nginx_stream(self, gateway):
        return self._nginx("nginx-stream.conf", "include {path};", gateway)

    def nginx_http(self, gateway):
        return self._nginx("nginx-http.conf", HTTP, gateway)

    def nginx_split(self, gateway, backend):
        """Upgrades go to the gateway, everything else to the backend."""
        return self._nginx("nginx-split.conf", HTTP, gateway, {":9000": f":{backend}"})

    def _nginx(self, template, around, gateway, replaced=()):
        """`around` is what nginx.conf says around the settings; its other files are ours."""
        port = free_port()
        path = settings(template, {":8000": f":{port}", ":8076": f":{gateway}", **dict(replaced)})
        return self.nginx_with(path, port, around)

    def nginx_with(self, path, port, around="include {path};"):
        main = written(
            f"load_module {self.folder}/usr/lib/nginx/modules/ngx_stream_module.so;\n"
            f"user root; daemon off; pid {path}.pid; error_log stderr; events {{}}\n{around.format(path=path)}\n"
        )
        return Proxy("nginx", [os.path.join(self.folder, "usr/sbin/nginx"), "-c", main], port)
