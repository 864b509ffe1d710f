"""Browsers through `heirloom record`; what becomes of their recordings; the readers that vectors/README.md prints."""

import glob
import json
import os
import re
import signal
import tempfile

from asks import BEYOND_BMP, HELLO, expect, opened, require, shortly
from procs import HERE, WORK, Heirloom, Proc
from scripts import ScriptServer

ROOT = os.path.normpath(os.path.join(HERE, "..", ".."))
# What each browser says in each of its conversations.
CONVERSATIONS = [[HELLO], [BEYOND_BMP], [HELLO, BEYOND_BMP, HELLO]]


class Recorder(Proc):
    """`heirloom record` on a port of its own."""

    def __init__(self, binary, port, folder):
        argv = [binary, "record", "--listen", "127.0.0.1:0", "--to", f"127.0.0.1:{port}", "--out", folder]
        super().__init__("heirloom record", argv, stdin=False)
        line = self.line() or b""
        found = re.fullmatch(rb"listening on ws://127\.0\.0\.1:(\d+)/", line)
        require(found, f"heirloom record says {line!r} instead of where it listens{self.talk()}")
        self.port = int(found[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def run(name, argv, cwd=None):
    """Exit code, lines of stdout, and the process for what it said beside."""
    proc = Proc(name, argv, stdin=False, cwd=cwd)
    try:
        lines = []
        while True:
            line = proc.line()
            if line is None:
                return proc.wait(), lines, proc.talk()
            lines.append(line.decode("utf-8", "replace"))
    finally:
        proc.stop()


def said(lines):
    return " / ".join(lines[-4:])[:300]


def record(client, binary, port, folder, version, closing):
    with Recorder(binary, port, folder) as recorder:
        paths = []
        for messages in CONVERSATIONS:
            with opened(client, recorder.port) as socket:
                for message in messages:
                    socket.text(message)
                for message in messages:
                    expect(socket, "text", message)
                socket.close()
                expect(socket, "closed")
            line = recorder.line() or b""
            require(line.startswith(b"recorded "), f"heirloom record says {line!r}{recorder.talk()}")
            paths.append(line[len(b"recorded ") :].decode())
        recorder.term()
        code = recorder.wait()
        require(code == 0, f"heirloom record exits with {code}{recorder.talk()}")
        require(recorder.line() is None, "heirloom record records more than the conversations")
    for path, messages in zip(paths, CONVERSATIONS):
        with open(path, encoding="utf-8") as f:
            vectors = json.load(f)["vectors"]
        require(len(vectors) == 1, f"{path} holds {len(vectors)} vectors")
        concluded = vectors[0]["expect"]
        detected = concluded.get("detected")
        require(vectors[0]["version"] == detected == version, f"it is recorded as {detected}, not {version}")
        for side in ("client", "server"):
            texts = [m["data"] for m in concluded["messages"] if m["from"] == side]
            require(texts == messages, f"the {side} said {shortly(messages)}, recorded is {shortly(texts)}")
        require(concluded.get("close") == closing, f"the close is recorded as {concluded.get('close')}, not {closing}")
    files = sorted(glob.glob(os.path.join(glob.escape(folder), "**", "*"), recursive=True))
    require(files == sorted(paths), f"the folder holds {files}")


def checked(binary, folder, *options):
    code, lines, talk = run("heirloom check", [binary, "check", *options, folder])
    require(code == 0, f"heirloom check {' '.join(options)} exits with {code}: {said(lines)}{talk}")


def held_and_canonical(binary, folder):
    checked(binary, folder)
    checked(binary, folder, "--fmt-check")


def replayed(binary, folder, port):
    argv = [binary, "replay", folder, "--against", f"ws://127.0.0.1:{port}/", "--json"]
    code, lines, talk = run("heirloom replay", argv)
    require(code == 0, f"heirloom replay exits with {code}: {said(lines)}{talk}")
    good = [line for line in lines if json.loads(line)["result"] == "ok"]
    require(len(good) == len(lines) == len(CONVERSATIONS), f"heirloom replay says {said(lines)}")


def replayed_to_perl(client, binary, version, closing, name, opens, how):
    """Perl has no compression: what it is sent was recorded without."""
    folder = os.path.join(tempfile.mkdtemp(prefix="plain-", dir=WORK), "out")
    with Heirloom(binary, "--compression", "off") as server:
        record(client, binary, server.port, folder, version, closing)
    with ScriptServer(name, "/usr/bin/perl", "server.pl") as server:
        replayed(binary, folder, server.port)
        for _ in CONVERSATIONS:
            for due in (f"open {opens}", f"closed {how}"):
                line = server.line()
                require(line == due.encode(), f"the server says {line!r}, {due!r} was due")


def octets(path):
    """All that each side says in the vectors of a file or folder, by what the client says."""
    paths = glob.glob(os.path.join(glob.escape(path), "*.json")) if os.path.isdir(path) else [path]
    said = {}
    for name in paths:
        with open(name, encoding="utf-8") as f:
            for vector in json.load(f)["vectors"]:
                sides = {"client": b"", "server": b""}
                for step in vector["steps"]:
                    if "text" in step:
                        sides[step["from"]] += "".join(step["text"]).encode("latin-1")
                    elif "fill" in step:
                        sides[step["from"]] += bytes.fromhex(step["fill"]["hex"]) * step["fill"]["times"]
                    else:
                        sides[step["from"]] += bytes.fromhex(step.get("hex", ""))
                said[sides["client"]] = (sides["server"], vector["version"])
    return said


def captured(client, binary, port, folder):
    """A capture of the same conversation imports to the same octets, cut by segments instead of writes."""
    pcap = os.path.join(os.path.dirname(folder), "capture.pcap")
    imported = os.path.join(os.path.dirname(folder), "imported.json")
    with Recorder(binary, port, folder) as recorder:
        argv = ["tcpdump", "--immediate-mode", "-i", "lo", "-U", "-n", "-Z", "root", "-w", pcap, f"tcp port {recorder.port}"]
        capture = Proc("tcpdump", argv, stdin=False)
        try:
            capture.wait_to_say("listening on")
            with opened(client, recorder.port) as socket:
                for message in (HELLO, BEYOND_BMP):
                    socket.text(message)
                    expect(socket, "text", message)
                socket.close()
                expect(socket, "closed")
            line = recorder.line() or b""
            require(line.startswith(b"recorded "), f"heirloom record says {line!r}{recorder.talk()}")
            # What the kernel has seen is in the file when tcpdump has ended in order.
            capture.popen.send_signal(signal.SIGINT)
            capture.wait()
        finally:
            capture.stop()
        argv = [binary, "import", pcap, "--port", str(recorder.port), "--out", imported]
    code, lines, talk = run("heirloom import", argv)
    require(code == 0, f"heirloom import exits with {code}: {said(lines)}{talk}")
    recorded = octets(line[len(b"recorded ") :].decode())
    require(octets(imported) == recorded, "the capture holds other octets than the recording")


def check_recordings(report, binary, engines, perl):
    """`engines` are the browsers by the row that they have in the matrix."""
    wires = {
        "hixie-76": ("draft-ietf-hybi-00", "eof", "none"),
        "rfc6455": ("draft-ietf-hybi-17", "code 1000", {"from": "client", "code": 1000}),
    }
    for (peer, _, version), client in engines.items():
        row = report.row(peer, "recording", version)
        opens, how, closing = wires[version]
        folder = os.path.join(tempfile.mkdtemp(prefix="recordings-", dir=WORK), "out")
        with Heirloom(binary) as server:
            if not report.check(row, "recorded", record, client, binary, server.port, folder, version, closing):
                continue
            report.check(row, "check", held_and_canonical, binary, folder)
            report.check(row, "heirloom", replayed, binary, folder, server.port)
            other = os.path.join(tempfile.mkdtemp(prefix="captures-", dir=WORK), "out")
            report.check(row, "tcpdump", captured, client, binary, server.port, other)
        report.check(row, "Perl", replayed_to_perl, client, binary, version, closing, perl, opens, how)


def reads(fence, argv, ending, pattern):
    """The only block of that language on the page, run as the page says, names every vector that it reads."""
    with open(os.path.join(ROOT, "vectors", "README.md"), encoding="utf-8") as f:
        blocks = re.findall(rf"^```{fence}\n(.*?)^```$", f.read(), re.M | re.S)
    require(len(blocks) == 1, f"the page has {len(blocks)} blocks of {fence}")
    program = os.path.join(WORK, "reader" + ending)
    with open(program, "w", encoding="utf-8") as f:
        f.write(blocks[0])
    due = []
    for path in glob.glob(os.path.join(glob.escape(ROOT), pattern)):
        with open(path, encoding="utf-8") as f:
            due += [vector["id"] for vector in json.load(f)["vectors"]]
    require(due, f"there are no vectors in {pattern}")
    code, lines, talk = run(argv, [argv, program], cwd=ROOT)
    require(code == 0, f"{argv} exits with {code}{talk}")
    # Node breaks a long list into lines, which begin with a space or a bracket.
    got = [line.split(" ", 1)[0] for line in lines if re.match(r"[a-z0-9][^ ]* \[", line)]
    require(sorted(got) == sorted(due), f"{len(got)} vectors are printed, {len(due)} are there: {said(lines)}")


def check_readers(report):
    report.hold("vectors/README.md: its Python reads every vector", reads, "python", "python3", ".py", "vectors/*/*.json")
    report.hold("vectors/README.md: its JavaScript reads every vector", reads, "js", "node", ".js", "vectors/hixie-76/*.json")
