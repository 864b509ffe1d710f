"""A system of its own, in which the package is installed and its unit is run as systemd would.

The system is the machine's own under an overlay, so that nothing is downloaded and nothing of the machine is changed. It
needs a mount namespace that goes with the process: see run.
"""

import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "peers"))

from asks import require  # noqa: E402
from procs import PATIENCE, WORK, Proc, clean_env  # noqa: E402

UNIT = "/usr/lib/systemd/system/heirloom.service"


def command(argv, given=None, due=0):
    """What a command prints; it must end with this status."""
    done = subprocess.run(argv, input=given, capture_output=True, text=True, env=clean_env(), timeout=120)
    require(done.returncode == due, f"`{' '.join(argv)}` ends with {done.returncode}: {done.stdout[-400:]}{done.stderr[-400:]}")
    return done.stdout + done.stderr


class Root:
    """The machine's system as the lower layer; all that changes is in the folder `changed`."""

    def __init__(self):
        place = os.path.join(WORK, "system")
        self.path, self.changed = os.path.join(place, "root"), os.path.join(place, "changed")
        os.makedirs(place)
        command(["mount", "-t", "tmpfs", "tmpfs", place])
        work = os.path.join(place, "work")
        for folder in (self.path, self.changed, work):
            os.makedirs(folder)
        layers = f"lowerdir=/,upperdir={self.changed},workdir={work}"
        try:
            command(["mount", "-t", "overlay", "overlay", "-o", layers, self.path])
        except Exception as e:
            raise type(e)(f"{e}; this test needs root, and a kernel that mounts overlays") from e
        # What runs on the machine is not seen: no systemd either, as in a container.
        for kind, folder in (("proc", "proc"), ("sysfs", "sys"), ("tmpfs", "run"), ("tmpfs", "tmp")):
            command(["mount", "-t", kind, kind, self.at(folder)])
        command(["mount", "--rbind", "/dev", self.at("dev")])

    def at(self, path):
        return os.path.join(self.path, path.lstrip("/"))

    def run(self, *argv, due=0):
        return command(["chroot", self.path, *argv], due=due)

    def write(self, path, text, mode=0o644):
        """In place of the file, as an editor does: its reader sees the old one or the new one."""
        with open(self.at(path) + ".new", "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(f.name, mode)
        os.replace(f.name, self.at(path))

    def remove(self, path):
        if os.path.exists(self.at(path)):
            os.remove(self.at(path))

    def read(self, path):
        with open(self.at(path), encoding="utf-8") as f:
            return f.read()

    def files(self):
        """What was written, changed or removed, without what programs make of what they find."""
        found = set()
        for folder, folders, names in os.walk(self.changed):
            inside = "/" + os.path.relpath(folder, self.changed)
            found |= {os.path.normpath(os.path.join(inside, name)) for name in names}
            if not folders and not names:
                found.add(os.path.normpath(inside) + "/")
        return found

    def user(self, name):
        """The numbers of a user and of its group, who is of this system only."""
        fields = re.search(rf"^{name}:[^:]*:(\d+):(\d+):", self.read("/etc/passwd"), re.M)
        require(fields, f"there is no user {name}")
        return int(fields[1]), int(fields[2])


class Unit:
    """The lines of a unit file."""

    def __init__(self, text):
        self.lines = {}
        for line in text.splitlines():
            key, found, value = line.partition("=")
            if found and not line.startswith(("#", ";")):
                self.lines.setdefault(key.strip(), []).append(value.strip())

    def one(self, key):
        values = self.lines.get(key, [])
        require(len(values) == 1, f"the unit has {len(values)} lines {key}=")
        return values[0]

    def all(self, key):
        return self.lines.get(key, [])


class Notices:
    """What a service tells its supervisor at NOTIFY_SOCKET."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        os.chmod(path, 0o666)
        self.told = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while True:
            for line in self.socket.recv(4096).decode().splitlines():
                self.told.put(line)

    def wait(self, due, service, patience=PATIENCE):
        """Until it is told; the lines before it are dropped."""
        until, before = time.monotonic() + patience, []
        while True:
            try:
                line = self.told.get(timeout=0.1)
            except queue.Empty:
                lives = time.monotonic() < until and service.popen.poll() is None
                require(lives, f"the service does not tell {due!r} but {before}{service.talk()}")
                continue
            if line == due:
                return
            before.append(line)


class Service(Proc):
    """The packaged unit, started, reloaded and stopped by its own lines, as its user."""

    def __init__(self, root, listener=None):
        """`listener` is a socket that systemd holds for it."""
        self.root, self.unit = root, Unit(root.read(UNIT))
        require(self.unit.one("Type") == "notify", "the unit is not of Type=notify")
        self.user = self.unit.one("User")
        numbers = root.user(self.user)
        # systemd makes them.
        self.env = {"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": str(int(self.unit.one("WatchdogSec")) * 1_000_000)}
        for key, parent in (("LogsDirectory", "/var/log"), ("RuntimeDirectory", "/run")):
            folder = os.path.join(parent, self.unit.one(key))
            os.makedirs(root.at(folder), exist_ok=True)
            os.chmod(root.at(folder), int((self.unit.all(key + "Mode") or ["0755"])[0], 8))
            os.chown(root.at(folder), *numbers)
        root.remove("/run/notify")
        self.notices = Notices(root.at("/run/notify"))
        argv, fds = self.argv(self.unit.one("ExecStart")), []
        if listener:
            # The third descriptor of the process that these variables name.
            passed = 'fd=$1; shift; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@" 3<&"$fd"'
            argv, fds = ["bash", "-c", passed, "bash", str(listener.fileno()), *argv], [listener.fileno()]
        super().__init__("the service", argv, self.env, stdin=False, fds=fds)
        self.notices.wait("READY=1", self)

    def argv(self, line):
        """With the rights that the unit leaves, and no other."""
        line = line.replace("$MAINPID", str(self.popen.pid) if hasattr(self, "popen") else "$MAINPID")
        kept = [name.removeprefix("CAP_").lower() for name in self.unit.one("AmbientCapabilities").split()]
        require(self.unit.one("CapabilityBoundingSet") == self.unit.one("AmbientCapabilities"), "capabilities differ")
        caps = ",".join(["-all", *(f"+{name}" for name in kept)])
        rights = ["--reuid", self.user, "--regid", self.unit.one("Group"), "--init-groups", "--no-new-privs"]
        rights += [f"--inh-caps={caps}", f"--ambient-caps={caps}", f"--bounding-set={caps}"]
        return ["chroot", self.root.path, "setpriv", *rights, *line.split()]

    def reload(self):
        for line in self.unit.all("ExecReload"):
            command(self.argv(line))
        self.notices.wait("RELOADING=1", self)
        self.notices.wait("READY=1", self)

    def end(self, tells=True):
        """TERM; how it ended. One without connections may be gone before it tells that it stops."""
        self.popen.send_signal(signal.SIGTERM)
        if tells:
            self.notices.wait("STOPPING=1", self)
        return self.wait()
