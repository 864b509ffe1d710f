"""Processes: each in a group of its own, with a deadline for whatever it is asked, and ended with the harness."""

import os
import queue
import re
import signal
import subprocess
import tempfile
import threading
import time

PATIENCE = 20.0  # seconds for one answer; a 1 MiB message through a script in Perl or Ruby takes two of them
HERE = os.path.dirname(os.path.abspath(__file__))
WORK = tempfile.mkdtemp(prefix="heirloom-peers-")

_running = []


class Failure(Exception):
    """A check did not hold; the message says what was seen."""


def clean_env(extra=None):
    """No proxy between the peers, and a home of our own for browsers that write one."""
    env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    env.update(HOME=WORK, TMPDIR=WORK, LC_ALL="C.UTF-8", TZ="UTC")
    env.update(extra or {})
    return env


class Proc:
    def __init__(self, name, argv, env=None, stdin=True, cwd=None, fds=()):
        self.name = name
        # It goes with the folder.
        self.log = tempfile.NamedTemporaryFile(prefix="stderr-", dir=WORK, delete=False)
        self.popen = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=clean_env(env),
            cwd=cwd,
            start_new_session=True,
            pass_fds=fds,
        )
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        _running.append(self)

    def _read(self):
        for line in self.popen.stdout:
            self.lines.put(line.rstrip(b"\r\n"))
        self.lines.put(None)

    def line(self, patience=PATIENCE):
        """The next line of stdout, or None at its end."""
        try:
            line = self.lines.get(timeout=patience)
        except queue.Empty:
            raise Failure(f"{self.name} says nothing for {patience:.0f} s{self.talk()}")
        if line is None:
            self.lines.put(None)
        return line

    def forget_lines(self):
        """Drops what it has said on stdout so far."""
        kept = False
        try:
            while True:
                kept = self.lines.get_nowait() is None
        except queue.Empty:
            if kept:
                self.lines.put(None)

    def write(self, data):
        try:
            self.popen.stdin.write(data)
            self.popen.stdin.flush()
        except OSError:
            raise Failure(f"{self.name} no longer reads{self.talk()}")

    def end_input(self):
        try:
            self.popen.stdin.close()
        except OSError:
            pass

    def wait(self, patience=PATIENCE):
        try:
            return self.popen.wait(patience)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} does not end within {patience:.0f} s{self.talk()}")

    def term(self):
        self.popen.send_signal(signal.SIGTERM)

    def talk(self):
        with open(self.log.name, "rb") as f:
            tail = f.read()[-400:].decode("utf-8", "replace").strip()
        return f"; its stderr ends: {tail!r}" if tail else ""

    def wait_to_say(self, words, since=0, patience=PATIENCE):
        """Until its stderr has the words, after so many octets of it; how many octets it has then."""
        until = time.monotonic() + patience
        while True:
            with open(self.log.name, "rb") as f:
                f.seek(since)
                at = f.read().find(words.encode())
            if at >= 0:
                return since + at + len(words)
            if time.monotonic() > until or self.popen.poll() is not None:
                raise Failure(f"{self.name} does not say {words!r}{self.talk()}")
            time.sleep(0.02)

    def stop(self):
        """Ends the process, then whatever is left of its group."""
        if self in _running:
            _running.remove(self)
        self.popen.terminate()
        try:
            self.popen.wait(3)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.popen.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.popen.wait()
        if self.popen.stdin:
            self.end_input()


def stop_all():
    for p in list(_running):
        p.stop()


class Heirloom(Proc):
    """`heirloom serve`, or another of its servers, on a port of its own."""

    latest = None

    def __init__(self, binary, *options, subcommand="serve", port=0, takes=""):
        """`takes` is `ws://` or `tls://`, for a port that takes nothing else."""
        Heirloom.latest = self
        argv = [binary, subcommand, "--listen", f"{takes}127.0.0.1:{port}", *options]
        super().__init__(f"heirloom {subcommand}", argv, stdin=False)
        if "--json" in options:
            # Standard output holds JSON only.
            self.wait_to_say("listening on ws://127.0.0.1:")
            with open(self.log.name, "rb") as f:
                line = next((line for line in f.read().splitlines() if line.startswith(b"listening")), b"")
        else:
            line = self.line()
        found = re.fullmatch(rb"listening on wss?://127\.0\.0\.1:(\d+)/(?: and wss://127\.0\.0\.1:\1/)?", line or b"")
        if not found:
            raise Failure(f"{self.name} says {line!r} instead of where it listens{self.talk()}")
        self.port = int(found[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def drain(self):
        """TERM, then the exit code."""
        self.term()
        return self.wait()
