#!/usr/bin/env python3
"""A day in the life of an installed gateway: 500 clients while backends move, the certificate is renewed, the log is rotated,
the configuration is reloaded, a client is unplugged and a backend is killed. Nothing that was acknowledged is lost.

It runs in a network namespace of its own, with a cable to another one; see `check_day`. Prometheus and logrotate are Debian's.
"""

import argparse
import collections
import contextlib
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request

import browsers
import certificates
from asks import expect, require
from crowd import PACE_SECONDS, RETURN_SECONDS, Crowd
from links import CLIENT, SERVER, Net, opened as opened_raw
from procs import HERE, PATIENCE, WORK, Failure, Proc, clean_env, stop_all
from raw import Raw
from scripts import perl_client, ruby_client

sys.path.insert(0, os.path.join(HERE, "..", "packages"))
from root import Root, Service, command  # noqa: E402

PORT, ADMIN, STORE = 8076, 9076, 9000
# The second one is longer than any pause of a busy machine.
SPREAD_MS, IDLE_MS = 1500, 5000
COUNTS = {
    ("hixie-75", False): 40,
    ("hixie-76", False): 206,
    ("hixie-76", True): 20,
    ("hybi-08", False): 60,
    ("rfc6455", False): 130,
    ("rfc6455", True): 40,
}
# With the four that are no clients of ours.
ALL = sum(COUNTS.values()) + 4
LOG = "/var/log/heirloom/access.log"
CONFIGURATION = f"""\
admin = "127.0.0.1:{ADMIN}"
access-log = "{LOG}"
idle-timeout-ms = {IDLE_MS}
spread-ms = {SPREAD_MS}
reload-drain-ms = 300

[[listener]]
listen = "0.0.0.0:{PORT}"
tls-cert = ["/etc/heirloom/panel.pem"]
tls-key = ["/etc/heirloom/panel.key"]

[[route]]
path = "/"
to = "ws://%s.lab:{STORE}/app"
versions = "all"
"""
PROMETHEUS = f"""\
global: {{scrape_interval: 500ms, scrape_timeout: 400ms}}
scrape_configs: [{{job_name: heirloom, static_configs: [{{targets: ["127.0.0.1:{ADMIN}"]}}]}}]
"""
# What a rotation calls. Only root may ask systemd for that.
SYSTEMCTL = """\
#!/bin/sh
[ "$*" = "is-active --quiet heirloom.service" ] && exit 0
[ "$(id -u)" = 0 ] && [ "$*" = "kill --kill-who=main --signal=USR1 heirloom.service" ] || exit 1
exec kill -USR1 %d
"""

ask = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def wait(what, holds, patience=PATIENCE):
    """What it gives, when it gives something."""
    until = time.monotonic() + patience
    while True:
        found = holds()
        if found:
            return found
        require(time.monotonic() < until, f"{what}: not after {patience:.0f} s")
        time.sleep(0.05)


class Store(Proc):
    """A backend that keeps what it gets."""

    def __init__(self, folder, host):
        self.kept, self.asked = collections.Counter(), 0
        argv = ["node", os.path.join(HERE, "store.js"), folder, host, str(STORE)]
        super().__init__(f"store.js at {host}", argv, stdin=False)
        line = self.line()
        require(line == f"listening {STORE}".encode(), f"it says {line!r}{self.talk()}")

    def end(self, how):
        self.popen.send_signal(how)
        self.wait()

    def count(self):
        """All that it has said so far; its pipe is read to the end where it has ended."""
        if self.popen.poll() is not None:
            while (line := self.line()) is not None:
                self.note(line)
        while not self.lines.empty():
            line = self.lines.get()
            if line is None:
                self.lines.put(None)
                break
            self.note(line)
        return self

    def note(self, line):
        verb, _, text = line.decode().partition(" ")
        if verb == "got":
            self.kept[text] += 1
        else:
            self.asked += verb == "open"


class Foreign:
    """A browser or a library, which says a text each second. It connects again where it is cut off, as its page would."""

    def __init__(self, title, version, client, crowd):
        self.title, self.version, self.client, self.crowd = title, version, client, crowd
        self.acknowledged, self.connections, self.attempts, self.why = [], 0, 0, "nothing yet"
        self.thread = threading.Thread(target=self._live, daemon=True)
        self.thread.start()

    def _live(self):
        while not self.crowd.leaving.is_set():
            socket = self.client.open(PORT, "/foreign")
            self.attempts += 1
            try:
                expect(socket, "open")
                self.connections += 1
                while True:
                    text = f"{self.title} {len(self.acknowledged)}"
                    socket.text(text)
                    expect(socket, "text", text)
                    self.acknowledged.append(text)
                    if self.crowd.leaving.wait(PACE_SECONDS):
                        # The server closes.
                        return expect(socket, "closed")
            except Failure as e:
                self.why = str(e)
            finally:
                socket.done()
            self.crowd.leaving.wait(RETURN_SECONDS[1])

    def end(self):
        self.thread.join(PATIENCE)
        require(not self.thread.is_alive(), f"{self.title} does not end: {self.why}")


class Day:
    def __init__(self, args, stack):
        self.args, self.stack = args, stack
        self.root, self.stores, self.foreign = Root(), {}, []
        self.start = time.monotonic()
        self.extra = collections.Counter()

    def step(self, what, function, *args):
        began = time.monotonic()
        function(*args)
        now = time.monotonic()
        print(f"ok    day: {what} ({now - began:.1f} s)", flush=True)

    # The morning.

    def installs(self):
        self.root.remove("/var/lib/man-db/auto-update")
        shutil.copy(self.args.deb, self.root.at("/tmp/heirloom.deb"))
        self.root.run("dpkg", "--install", "/tmp/heirloom.deb")
        self.certify("first")
        self.configure("chat")

    def certify(self, name):
        """As certbot's hook: the files are there before the gateway is told."""
        self.certificate = certificates.Certificate(name, certificates.RSA)
        user, group = self.root.user("heirloom")
        for path, kind in ((self.certificate.path, "pem"), (self.certificate.key, "key")):
            place = f"/etc/heirloom/panel.{kind}"
            with open(path, encoding="ascii") as f:
                self.root.write(place, f.read(), 0o640)
            os.chown(self.root.at(place), user, group)

    def configure(self, name):
        self.root.write("/etc/heirloom/heirloom.toml", CONFIGURATION % name)
        self.root.run("heirloom", "gateway", "--config", "/etc/heirloom/heirloom.toml", "--check")

    def names(self, **hosts):
        self.root.write("/etc/hosts", "".join(f"{host} {name}.lab\n" for name, host in hosts.items()))

    def starts(self):
        self.names(chat="127.0.0.1")
        self.store = Store(self.args.ws, "127.0.0.1")
        self.stores["127.0.0.1"] = [self.store]
        self.service = Service(self.root)
        self.root.write("/usr/local/bin/systemctl", SYSTEMCTL % self.service.popen.pid, 0o755)

    def connects(self):
        self.crowd = Crowd(PORT, COUNTS)
        pages = browsers.Pages()
        for title, version, client in (
            ("PhantomJS", "hixie-76", browsers.phantomjs(pages, self.args.phantomjs)),
            ("Chromium", "rfc6455", browsers.chromium(pages)),
            # The scripts of these answer no pings, so they speak a version without.
            ("Perl", "hixie-76", perl_client("draft-ietf-hybi-00")),
            ("Ruby", "hixie-76", ruby_client(76)),
        ):
            self.foreign.append(Foreign(title, version, client, self.crowd))
        self.all_answered()

    def all_answered(self):
        """Each client gets one more text back."""
        before = [len(peer.acknowledged) for peer in self.foreign]
        self.crowd.all_answered()
        for peer, count in zip(self.foreign, before):
            try:
                wait("", lambda: len(peer.acknowledged) > count)
            except Failure:
                raise Failure(f"{peer.title} gets nothing back: {peer.why}") from None

    def measured(self):
        path = os.path.join(WORK, "prometheus.yml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(PROMETHEUS)
        argv = [f"{self.args.debian}/usr/bin/prometheus", f"--config.file={path}", "--log.level=warn"]
        argv += [f"--storage.tsdb.path={WORK}/tsdb", "--web.listen-address=127.0.0.1:9090"]
        Proc("prometheus", argv, stdin=False)
        self.measures('sum(heirloom_connections{state="open"})', ALL)
        text = self.metrics()
        done = subprocess.run([f"{self.args.debian}/usr/bin/promtool", "check", "metrics"], input=text, capture_output=True, text=True)
        require(done.returncode == 0, f"promtool says {done.stdout}{done.stderr}")

    def metrics(self):
        return ask(f"http://127.0.0.1:{ADMIN}/metrics", timeout=PATIENCE).read().decode()

    def query(self, expression):
        """By the labels, the values; nothing while prometheus is not there yet."""
        url = "http://127.0.0.1:9090/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        try:
            answer = json.load(ask(url, timeout=PATIENCE))
        except OSError:
            return {}
        found = answer["data"]["result"]
        return {tuple(sorted(one["metric"].items())): float(one["value"][1]) for one in found}

    def measures(self, expression, due):
        """Prometheus comes to this value."""
        last = None

        def holds():
            nonlocal last
            last = self.query(expression)
            return last == {(): due}

        try:
            wait(expression, holds)
        except Failure as e:
            raise Failure(f"{e}: {due} was due, it is {last}{self.service.talk()}") from None

    # What happens to backends.

    def another_store(self, host):
        store = Store(self.args.ws, host)
        self.stores.setdefault(host, []).append(store)
        return store

    def moved(self):
        """The same name at another address; the old backend closes what it has."""
        old, self.store = self.store, self.another_store("127.0.0.2")
        self.names(chat="127.0.0.2")
        old.end(15)
        self.all_answered()
        require(self.store.count().asked >= ALL, f"the new place has {self.store.asked} connections")

    def renamed(self):
        """Another name in the file. The old route gives its connections up, spread over the time."""
        old, self.store = self.store, self.another_store("127.0.0.3")
        self.names(chat="127.0.0.2", board="127.0.0.3")
        self.configure("board")
        ends = len(self.crowd.ends)
        self.service.reload()
        self.crowd.wait("all leave the old route", lambda: len(self.crowd.ends) >= ends + len(self.crowd.members))
        self.is_spread(self.crowd.ends[ends:])
        self.all_answered()
        require(self.store.count().asked >= ALL, f"the new name has {self.store.asked} connections")
        old.end(15)

    def is_spread(self, ends):
        """The closes of all came one after the other."""
        times = sorted(time for time, _, how in ends)
        first, whole = times[0], SPREAD_MS / 1000
        thirds = [sum(i * whole / 3 <= at - first < (i + 1) * whole / 3 for at in times) for i in range(3)]
        require(min(thirds) > len(times) / 6, f"in each third of {whole} s so many are closed: {thirds} of {len(times)}")

    def killed(self):
        """Without a word, and back. Meanwhile clients are refused."""
        self.store.end(9)
        before = self.crowd.refused["502"]
        self.crowd.wait("clients hear that there is no backend", lambda: self.crowd.refused["502"] > before + 100)
        self.store = self.another_store("127.0.0.3")
        self.all_answered()

    # What happens to the gateway.

    @contextlib.contextmanager
    def undisturbed(self):
        """No connection ends meanwhile."""
        ends = len(self.crowd.ends)
        yield
        self.all_answered()
        lost = self.crowd.ends[ends:]
        require(not lost, f"{len(lost)} connections end: {lost[:3]}")

    def renewed(self):
        def shown():
            return certificates.openssl("x509", "-inform", "pem", "-outform", "der", "-in", self.certificate.path)

        old = shown()
        secure = [member for member in self.crowd.members if member.secure]
        require(all(member.certificate == old for member in secure), "another certificate is shown")
        with self.undisturbed():
            self.certify("second")
            self.service.reload()
            with Raw(PORT, tls=self.certificate.client()) as raw:
                require(raw.socket.getpeercert(True) == shown() != old, "a new client sees the old certificate")
        self.extra["none"] += 1

    def rotated(self):
        shutil.copy(f"{self.args.debian}/usr/sbin/logrotate", self.root.at("/usr/local/sbin/logrotate"))
        before = os.stat(self.root.at(LOG))
        with self.undisturbed():
            argv = ["env", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
            argv += ["logrotate", "--verbose", "--force", "--state", "/tmp/logrotate", "/etc/logrotate.d/heirloom"]
            said = self.root.run(*argv)
            require("error" not in said, f"logrotate says {said}")
            now = os.stat(self.root.at(LOG))
            require(now.st_ino != before.st_ino and os.stat(self.root.at(LOG + ".1")).st_ino == before.st_ino, "it is the same file")
            self.visit()
            wait("the next line is in the new file", lambda: "path=/visit " in self.root.read(LOG))

    def visit(self):
        """One more connection."""
        with Raw(PORT) as raw:
            opened_raw(raw, "hixie-76", "/visit")
            raw.hixie_text("visit")
        self.extra["hixie-76"] += 1

    def unplugged(self):
        """Nothing comes any more from a client, not even the end of TCP."""
        net = Net()
        net.near, net.far = self.args.near, self.args.far
        with self.undisturbed(), contextlib.ExitStack() as stack:
            for version, more in (("hixie-76", b"\0more\xff"), ("rfc6455", b"\x81\x84\0\0\0\0more")):
                raw = stack.enter_context(net.within(net.far, Raw, PORT, CLIENT, None, SERVER))
                opened_raw(raw, version, "/unplugged")
                # The backend says something all the time, so that there is something to acknowledge.
                raw.send(more)
                raw.until(b"news")
                self.extra[version] += 1
            net.cut()
            wait("the lines of both", lambda: len(self.lines(path="/unplugged")) == 2, 2 * PATIENCE)
        for line in self.lines(path="/unplugged"):
            # TCP itself may give up first on what it has sent.
            require(line["ended"] in ("idle-timeout", "reset"), f"the line says {line}")

    # The evening.

    def lines(self, **due):
        """The access lines in all files, as fields, that have these values."""
        found = []
        for path in sorted(glob.glob(self.root.at(LOG) + "*")):
            with open(path, encoding="utf-8") as f:
                # The last one may not be whole yet.
                whole = [line for line in f if line.endswith("\n")]
            found += [dict(field.split("=", 1) for field in line.split() if "=" in field) for line in whole]
        return [line for line in found if all(line.get(key) == value for key, value in due.items())]

    def opened(self):
        """By version, how many connections the clients say that they had."""
        found = collections.Counter(self.crowd.opened)
        for peer in self.foreign:
            found[peer.version] += peer.connections
        return found + collections.Counter({version: count for version, count in self.extra.items() if version != "none"})

    def balanced(self):
        """Prometheus, the access log and the clients have counted the same."""
        self.measures('sum(heirloom_connections{state="open"})', ALL)
        self.measures("sum(heirloom_connections_closed_total)", len(self.lines()))
        opened = self.opened()
        for version, count in opened.items():
            self.measures(f'sum(heirloom_handshakes_total{{version="{version}",code="101"}})', count)
        refused = len(self.lines(code="502"))
        heard = self.crowd.refused["502"] + sum(peer.attempts - peer.connections for peer in self.foreign)
        require(refused == heard, f"{refused} lines have 502, {heard} times clients were refused")
        self.measures('sum(heirloom_handshakes_total{code="backend-unreachable"})', refused)
        # A text that was cut off on its way back was received for nothing.
        known = len(self.acknowledged())
        received = 'sum(heirloom_messages_total{direction="received"})'
        wait(f"{known} texts were acknowledged", lambda: sum(self.query(received).values()) >= known)

    def acknowledged(self):
        return self.crowd.acknowledged + [text for peer in self.foreign for text in peer.acknowledged]

    def drains(self):
        self.crowd.leaving.set()
        ends = len(self.crowd.ends)
        code = self.service.end()
        require(code == 0, f"it ends with {code}{self.service.talk()}")
        self.crowd.end()
        for peer in self.foreign:
            peer.end()
        self.is_spread(self.crowd.ends[ends:])
        hows = {(version, how) for _, version, how in self.crowd.ends[ends:]}
        due = {("hixie-75", "eof"), ("hixie-76", "close ff00"), ("hybi-08", "close 03e9"), ("rfc6455", "close 03e9")}
        require(hows == due, f"the drain ends {hows}")
        lines = collections.Counter(line["version"] for line in self.lines(state="open"))
        require(lines == self.opened(), f"the lines have {lines}, the clients {self.opened()}")

    def nothing_is_lost(self):
        acknowledged = self.acknowledged()
        require(len(set(acknowledged)) == len(acknowledged), "a text is acknowledged twice")
        kept = collections.Counter()
        for store in (store for stores in self.stores.values() for store in stores):
            if store.popen.poll() is None:
                store.end(15)
            kept += store.count().kept
        lost = [text for text in acknowledged if not kept[text]]
        require(not lost, f"{len(lost)} of {len(acknowledged)} acknowledged texts never arrived, such as {lost[:3]}")
        return len(acknowledged)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deb", required=True, help="the Debian package")
    parser.add_argument("--phantomjs", required=True, help="folder with phantomjs and lib/")
    parser.add_argument("--debian", required=True, help="folder with usr/bin/prometheus and usr/sbin/logrotate")
    parser.add_argument("--ws", required=True, help="folder with node_modules/ws")
    parser.add_argument("--near", help="the network namespace of this process; without it this makes one")
    parser.add_argument("--far", help="the one at the other end of the cable")
    args = parser.parse_args()
    if not args.near:
        return in_namespaces(args.deb, args.phantomjs, args.debian, args.ws)
    day = None
    try:
        with contextlib.ExitStack() as stack:
            day = Day(args, stack)
            day.step("the package is installed and ten lines are checked", day.installs)
            day.step("the service starts", day.starts)
            day.step(f"{ALL} clients are connected, PhantomJS, Chromium, Perl and Ruby among them", day.connects)
            day.step("prometheus sees them, promtool checks what it reads", day.measured)
            day.step("the backend moves to another address", day.moved)
            day.step("the backend gets another name, and old connections leave one after the other", day.renamed)
            day.step("the certificate is renewed", day.renewed)
            day.step("logrotate rotates the access log", day.rotated)
            day.step("two clients are unplugged", day.unplugged)
            day.step("the backend is killed and comes back", day.killed)
            day.step("prometheus and the access log have counted what the clients know", day.balanced)
            day.step("the gateway drains, one client after the other", day.drains)
            day.step("every text that was acknowledged has arrived", day.nothing_is_lost)
            print(f"      {len(day.acknowledged())} texts, {sum(day.opened().values())} connections, {time.monotonic() - day.start:.0f} s")
            return 0
    except (Failure, OSError, ValueError, KeyError) as e:
        print(f"FAIL  day: {e if isinstance(e, Failure) else repr(e)}", flush=True)
        if day and hasattr(day, "service"):
            print(f"      {day.service.talk()}")
        return 1
    finally:
        stop_all()


def in_namespaces(deb, phantomjs, debian, ws):
    """Runs this again, in two namespaces of the network and with mounts that go with them."""
    with Net() as net:
        argv = ["ip", "netns", "exec", net.near, sys.executable, os.path.abspath(__file__), "--deb", deb]
        argv += ["--phantomjs", phantomjs, "--debian", debian, "--ws", ws, "--near", net.near, "--far", net.far]
        return subprocess.run(argv, env=clean_env(), timeout=180).returncode


def check_day(report, *folders):
    def ends_well():
        require(in_namespaces(*folders) == 0, "it does not; see above")

    report.hold("a day in the life of an installed gateway ends well", ends_well)


if __name__ == "__main__":
    status = main()
    if "--near" not in sys.argv:
        # The folder of the inner run is in it, and its mounts are not seen here.
        shutil.rmtree(WORK, ignore_errors=True)
    sys.exit(status)
