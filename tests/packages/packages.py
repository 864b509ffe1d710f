#!/usr/bin/env python3
"""The Debian package from its installation to its removal, and the other files of packaging/ that a machine can hold."""

import argparse
import contextlib
import json
import os
import re
import shutil
import socket
import sys

from root import Root, Service, Unit, command

from asks import HELLO, require
from procs import WORK, Failure, Proc, stop_all
from proxies import free_port
from raw import BODY_76, HIXIE_76, RFC_6455, Raw

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGING = os.path.join(HERE, "..", "..", "packaging")
CONFIGURATION = "/etc/heirloom/heirloom.toml"
# What the user is in, and what dpkg and the scripts of the package remember of all packages.
LEFT = re.compile(
    r"/etc/(\.pwd\.lock|(passwd|group|shadow|gshadow)-?)"
    r"|/var/cache/man/.*"
    r"|/var/lib/dpkg/(status|status-old|lock|lock-frontend|triggers/Lock)|/var/log/dpkg\.log"
)

# Ten lines.
ROUTES = """
[[listener]]
listen = "127.0.0.1:{port}"

[[route]]
path = "/"
to = "echo"
versions = "{versions}"
"""


def check(what, function, *args):
    try:
        function(*args)
    except (Failure, OSError, ValueError, KeyError) as e:
        print(f"FAIL  {what}\n      {e if isinstance(e, Failure) else repr(e)}", flush=True)
        return 1
    print(f"ok    {what}", flush=True)
    return 0


# What the package brings.


def completes(root):
    """Each shell reads its script, and so does bash complete."""
    for shell, script in (
        ("bash", "/usr/share/bash-completion/completions/heirloom"),
        ("zsh", "/usr/share/zsh/vendor-completions/_heirloom"),
        ("fish", "/usr/share/fish/vendor_completions.d/heirloom.fish"),
    ):
        said = root.run(shell, "-n", script)
        require(said == "", f"{shell} says {said!r}")
        require("pass-header" in root.read(script), f"the script for {shell} knows no --pass-header")


def has_pages(root):
    pages = [name for name in os.listdir(root.at("/usr/share/man/man1")) if name.startswith("heirloom")]
    names = [name.removesuffix(".1.gz") for name in pages]
    listed = re.search(r"^Commands:\n((?:  .*\n|\n(?=  ))+)", root.run("heirloom", "--help"), re.M)[1]
    commands = [word for word in re.findall(r"^  ([a-z]+)", listed, re.M) if word != "help"]
    due = {"heirloom", *(f"heirloom-{word}" for word in commands)}
    require(set(names) == due, f"there are pages for {sorted(names)}, not {sorted(due)}")
    for page in pages:
        path = f"/usr/share/man/man1/{page}"
        said = root.run("mandoc", "-Tlint", "-Werror", path)
        require(said == "", f"mandoc says {said!r}")
        said = root.run("man", "--warnings", "--encoding=UTF-8", "--local-file", "--troff-device=utf8", "--ditroff", path)
        require("warning" not in said.splitlines()[0], f"man says {said[:400]!r} of {page}")


def verifies(root):
    """systemd reads both units, and the service leaves itself few rights."""
    for unit in ("service", "socket"):
        said = root.run("systemd-analyze", "verify", f"/usr/lib/systemd/system/heirloom.{unit}")
        require(said == "", f"systemd-analyze says {said!r} of heirloom.{unit}")
    # In tenths: 0 is everything forbidden, 100 nothing.
    path = "/usr/lib/systemd/system/heirloom.service"
    root.run("systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", path)


def is_small(root):
    octets = os.path.getsize(root.at("/usr/bin/heirloom"))
    said = root.run("file", "/usr/bin/heirloom")
    require(", not stripped" not in said and octets < 16 << 20, f"the program has {octets} octets: {said}")


# What it does.


@contextlib.contextmanager
def watched(service):
    """Every system call, and every kind of socket, is one that the unit allows."""
    trace = os.path.join(WORK, "trace")
    pid = str(service.popen.pid)
    tracer = Proc("strace", ["strace", "--follow-forks", "--output", trace, "--attach", pid], stdin=False)
    tracer.wait_to_say("attached")
    yield
    tracer.wait()
    with open(trace, encoding="utf-8", errors="replace") as f:
        text = f.read()
    allowed = set()
    for line in service.unit.all("SystemCallFilter"):
        names = set().union(*map(calls_of, line.lstrip("~").split()))
        allowed = allowed - names if line.startswith("~") else allowed | names
    called = set(re.findall(r"^\d+ +(?:<\.\.\. )?(\w+)[( ]", text, re.M))
    require("epoll_wait" in called or "epoll_pwait" in called, f"strace saw {sorted(called)}")
    require(called <= allowed, f"the unit forbids {sorted(called - allowed)}")
    families = set(re.findall(r" socket\((AF_\w+)", text))
    due = set(service.unit.one("RestrictAddressFamilies").split())
    require(families <= due, f"the unit forbids sockets of {sorted(families - due)}")


def calls_of(name):
    """Of a set of systemd, or of one call."""
    if not name.startswith("@"):
        return {name}
    lines = command(["systemd-analyze", "syscall-filter", name]).splitlines()[1:]
    names = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    return set().union(*map(calls_of, names))


def echoes(port):
    with Raw(port) as raw:
        raw.ask(HIXIE_76, "/", body=BODY_76)
        raw.head()
        raw.octets(16)
        text = raw.hixie_text(HELLO)
        require(text == HELLO, f"{text!r} comes back")


def refused(port):
    with Raw(port) as raw:
        raw.ask(RFC_6455, "/")
        head = raw.head()
        require(head.startswith("HTTP/1.1 426 "), f"the answer is {head!r}")


def packaged_file_passes(root):
    said = root.run("heirloom", "gateway", "--config", CONFIGURATION, "--check")
    require("warning" not in said, f"the check of the packaged file says {said!r}")


def documented_file_passes(root):
    """The lines that an operator reads first."""
    with open(os.path.join(PACKAGING, "..", "docs", "deployment.md"), encoding="utf-8") as f:
        shown = re.findall(r"^```toml\n(.*?)^```$", f.read(), re.M | re.S)
    require(shown, "docs/deployment.md shows no configuration")
    for text in shown:
        root.write("/tmp/shown.toml", text)
        root.run("heirloom", "gateway", "--config", "/tmp/shown.toml", "--check")


def lives(root):
    """Starts, serves, is reloaded with a good file and with a bad one, and stops."""
    port = free_port()
    root.write(CONFIGURATION, ROUTES.format(port=port, versions="76"))
    service = Service(root)
    try:
        with watched(service):
            echoes(port)
            refused(port)
            root.write(CONFIGURATION, ROUTES.format(port=port, versions="76,13"))
            service.reload()
            echoes(port)
            with Raw(port) as raw:
                raw.ask(RFC_6455, "/")
                head = raw.head()
                require(head.startswith("HTTP/1.1 101 "), f"after the reload the answer is {head!r}")
            root.write(CONFIGURATION, ROUTES.format(port=port, versions="77"))
            said = command(service.argv(service.unit.all("ExecReload")[0]), due=2)
            require("heirloom.toml" in said and "77" in said, f"a bad file is told as {said!r}")
            echoes(port)
            code = service.end(tells=False)
            require(code == 0, f"it ends with {code}{service.talk()}")
    finally:
        service.stop()


def waits_at_its_port(root):
    """systemd holds the port: who comes while no gateway runs is served by the next one."""
    unit = Unit(root.read("/usr/lib/systemd/system/heirloom.socket"))
    require(unit.one("ListenStream") == "8076", f"the port is {unit.one('ListenStream')}")
    root.write(CONFIGURATION, ROUTES.replace("127.0.0.1:{port}", "systemd").format(versions="76"))
    with socket.create_server(("127.0.0.1", 0), backlog=int(unit.one("Backlog"))) as listener:
        port = listener.getsockname()[1]
        for _ in range(2):
            with Raw(port) as raw:
                raw.ask(HIXIE_76, "/", body=BODY_76)
                service = Service(root, listener)
                try:
                    head = raw.head()
                    require(head.startswith("HTTP/1.1 101 "), f"the answer is {head!r}")
                    raw.socket.close()
                    code = service.end(tells=False)
                    require(code == 0, f"it ends with {code}{service.talk()}")
                finally:
                    service.stop()


def is_removed(root, before):
    root.run("dpkg", "--remove", "heirloom")
    require(not os.path.exists(root.at("/usr/bin/heirloom")), "the program is still there")
    require(os.path.exists(root.at(CONFIGURATION)), "the configuration goes before the package is purged")
    root.write("/var/log/heirloom/access.log", "a line\n")
    root.run("dpkg", "--purge", "heirloom")
    left = [path for path in root.files() - before if not path.endswith("/") and not LEFT.fullmatch(path)]
    require(not left, f"the package leaves {sorted(left)}")
    for path in ("/etc/heirloom", "/var/log/heirloom", "/usr/share/doc/heirloom"):
        require(not os.path.exists(root.at(path)), f"the package leaves {path}")


# The files beside it.


def documents():
    with open(os.path.join(PACKAGING, "kubernetes.yaml"), encoding="utf-8") as f:
        found = command(["ruby", "-ryaml", "-rjson", "-e", "puts JSON.generate(YAML.load_stream(STDIN.read))"], f.read())
    return {document["kind"]: document for document in json.loads(found)}


def kubernetes_fits(root):
    """The configuration passes the check, and names the ports that the other documents name."""
    found = documents()
    text = found["ConfigMap"]["data"]["heirloom.toml"]
    root.write("/tmp/heirloom.toml", text)
    root.run("heirloom", "gateway", "--config", "/tmp/heirloom.toml", "--check")
    pod = found["Deployment"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    require(f'listen = "0.0.0.0:{ports["websocket"]}"' in text, f"nothing listens at {ports['websocket']}")
    require(f'admin = "0.0.0.0:{ports["admin"]}"' in text, f"there is no admin port {ports['admin']}")
    named = [container[probe]["httpGet"]["port"] for probe in ("readinessProbe", "livenessProbe")]
    named += [port["targetPort"] for port in found["Service"]["spec"]["ports"]]
    require(set(named) <= set(ports), f"the ports {named} are not all those of {ports}")
    spread = int(re.search(r"^spread-ms = (\d+)$", text, re.M)[1])
    needed = container["lifecycle"]["preStop"]["sleep"]["seconds"] + spread / 1000 + 30
    require(pod["terminationGracePeriodSeconds"] >= needed, f"a drain may take {needed} s")


def container_fits(root):
    """Its words are those of the program."""
    with open(os.path.join(PACKAGING, "Containerfile"), encoding="utf-8") as f:
        text = f.read()
    arguments = json.loads(re.search(r"^CMD (\[.*\])$", text, re.M)[1])
    require(json.loads(re.search(r"^ENTRYPOINT (\[.*\])$", text, re.M)[1]) == ["/usr/bin/heirloom"], "another program")
    root.run("/usr/bin/heirloom", *arguments, "--check")
    health = json.loads(re.search(r"^HEALTHCHECK .* CMD (\[.*\])$", text, re.M)[1])
    # Nothing listens here.
    root.run(*(word.replace(":8076", f":{free_port()}") for word in health), due=3)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deb", required=True, help="the built package")
    deb = parser.parse_args().deb
    failed = 0
    try:
        root = Root()
        # It would rebuild the index of all pages.
        root.remove("/var/lib/man-db/auto-update")
        shutil.copy(deb, root.at("/tmp/heirloom.deb"))
        before = root.files()
        failed += check("the package installs", root.run, "dpkg", "--install", "/tmp/heirloom.deb")
        if not failed:
            failed += check("its completions are read by bash, zsh and fish", completes, root)
            failed += check("each command has a page that mandoc and man read", has_pages, root)
            failed += check("its units are read by systemd, and leave few rights", verifies, root)
            failed += check("its program is stripped", is_small, root)
            failed += check("its configuration passes the check", packaged_file_passes, root)
            failed += check("so does the one in docs/deployment.md", documented_file_passes, root)
            failed += check("kubernetes.yaml fits it", kubernetes_fits, root)
            failed += check("Containerfile fits it", container_fits, root)
            failed += check("its service starts, is reloaded, refuses a bad file, and stops", lives, root)
            failed += check("its socket unit holds the port between two gateways", waits_at_its_port, root)
            failed += check("it is removed, and purged", is_removed, root, before)
    except Failure as e:
        failed += check("the system of the test is made", require, False, e)
    finally:
        stop_all()
    print("all passed" if not failed else f"{failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    # Its folder holds mounts: run removes it where they are not seen.
    sys.exit(main())
