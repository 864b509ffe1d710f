#!/usr/bin/env python3
"""`heirloom conform` with servers and clients that were written elsewhere, in every version that they speak.

Each run must have exactly the failures of conform-NAME.toml, where the faults of the peer stand, and exit with 0. Where
agreement/NAME.json has the verdicts of Autobahn|Testsuite, those of all its cases must be the same. Writes the tables of
docs/conform.md.

    conform.py ... --write-baselines     writes conform-*.toml instead; comments in them stay
"""

import argparse
import collections
import concurrent.futures
import contextlib
import json
import os
import shutil
import sys
import tempfile

from asks import Checks, require
from browsers import CHROMIUM
from procs import HERE, WORK, Failure, Heirloom, Proc, stop_all
from scripts import ScriptServer
from versions import find_echoing, versions

GUIDE = os.path.join(HERE, "..", "..", "docs", "conform.md")

# What a client under test gets without --version; a server gets older versions too.
CHAPTERS = "1,2,3,4,5,6,7,9,10,12,13"
# These take a peer in a script minutes. What they test are performance and compression, which such a peer has not.
LONG = "9,12,13"
# The sizes of chapters 12 and 13 that take most of the time. A client walks alone, one case after the other.
LARGE = ",".join(f"{chapter}.*.{size}" for chapter in (12, 13) for size in (8, 9, 10, *range(13, 19)))

PATIENCE = 150  # seconds for a whole run; the longest takes a third of it

# Where a verdict is not that of Autobahn|Testsuite: (name of the recording, case) -> verdict, closing, why. A run that agrees
# after all fails, so that nothing stays here that is no longer true.
DIFFERENCES = {}
# Where chance decides in both suites: (name, case) -> why. Either verdict is right.
IN_PARTS = "OK where the echo is sent before the wrong frame is read, NON-STRICT where it is not."
RACES = {
    (name, case): IN_PARTS
    for name in ("client-chromium", "client-websockets", "server-websockets")
    for case in ("3.4", "4.1.5", "4.2.5")
}

VERDICTS = ["ok", "non-strict", "informational", "unimplemented", "failed-may", "failed-should", "failed"]


class Subject:
    """A server or a client under test."""

    def __init__(self, side, name, title, start, *options, alone=False):
        """`start` gives a server, or for a client its command or a function that gives one that was started at a URL.
        `alone`: what it does takes the whole machine."""
        self.side, self.title, self.start, self.options, self.alone = side, title, start, options, alone
        self.name = f"{side}-{name}"
        self.baseline = os.path.join(HERE, f"conform-{self.name}.toml")
        self.folder = tempfile.mkdtemp(prefix=f"conform-{self.name}-", dir=WORK)
        self.results = self.end = self.status = None

    def recorded(self):
        """What Autobahn|Testsuite said, by case; None where it was not run."""
        try:
            with open(os.path.join(HERE, "agreement", f"{self.name}.json"), encoding="utf-8") as f:
                return {case: tuple(marks[:2]) for case, marks in json.load(f)["results"].items()}
        except FileNotFoundError:
            return None

    def found(self):
        """The verdicts of the same cases, in the reports that have the shape of its."""
        with open(os.path.join(self.folder, "index.json"), encoding="utf-8") as f:
            agents = list(json.load(f).values())
        require(len(agents) == 1, f"index.json has {len(agents)} agents")
        return {case: (marks["behavior"], marks["behaviorClose"]) for case, marks in agents[0].items()}

    def plays(self, binary, write):
        """The whole run."""
        options = ["--json", *self.options]
        if self.recorded() is not None:
            options += ["--autobahn", self.folder]
        if write:
            options += ["--write-baseline", self.baseline]
        elif os.path.exists(self.baseline):
            options += ["--baseline", self.baseline]
        with contextlib.ExitStack() as stack:
            if self.side == "server":
                server = stack.enter_context(self.start())
                program = Proc("heirloom conform", [binary, "conform", f"ws://127.0.0.1:{server.port}/", *options], stdin=False)
            elif isinstance(self.start, str):
                # The command of the client is a part of the command line, and its status is that of the run.
                program = Proc("heirloom conform", [binary, "conform", "--exec", self.start, *options], stdin=False)
            else:
                program = Heirloom(binary, "--once", *options, subcommand="conform")
                client = self.start(f"ws://127.0.0.1:{program.port}")
                stack.callback(client.stop)
            stack.callback(program.stop)
            self.status = program.wait(PATIENCE)
            lines = [json.loads(line) for line in iter(program.line, None)]
            self.words = program.talk()
        if write and not any(line.startswith('"') for line in open(self.baseline, encoding="utf-8")):
            # A run without a baseline expects as much.
            os.remove(self.baseline)
        require(lines, f"it exits with {self.status} and prints nothing{self.words}")
        self.results, self.end = [line for line in lines if line["id"]], lines[-1]
        rest = [one["id"] for one in self.results if one["verdict"] == "not-run"]
        require(not rest, f"not run: {' '.join(rest[:10])}; {self.end['stopped']}")

    def ends_as_expected(self):
        """Exactly the failures of the baseline."""
        news = [
            f"{one['id']} {one['verdict']} ({one['behavior']}/{one['behavior_close']})"
            for one in self.results
            if one["verdict"] in ("failed", "passes")
        ]
        require(not news and self.status == 0, f"exit status {self.status}; {'; '.join(news[:10])}{self.words}")

    def agrees(self):
        """With Autobahn|Testsuite, case by case."""
        recorded, found = self.recorded(), self.found()
        skipped = {case for case in recorded if left_out(case, self.options)}
        differing = {}
        for case in recorded.keys() - skipped | found.keys():
            due, got = recorded.get(case), found.get(case)
            if due != got and (self.name, case) not in RACES:
                differing[case] = (due, got)
        known = {case: (recorded[case], known[:2]) for (name, case), known in DIFFERENCES.items() if name == self.name}
        news = {case: pair for case, pair in differing.items() if known.get(case) != pair}
        news |= {case: (pair[0], found.get(case)) for case, pair in known.items() if case not in differing}
        require(not news, "; ".join(f"{case}: due {due}, got {got}" for case, (due, got) in sorted(news.items())[:10]))

    def rows(self):
        """For the table: how many cases of each version have each verdict."""
        counts, recorded = collections.defaultdict(collections.Counter), self.recorded()
        for one in self.results:
            verdict = one["verdict"]
            if (self.name, one["id"]) in RACES:
                verdict = recorded[one["id"]][0].lower()
            elif verdict == "expected-failure":
                verdict = "failed"  # the peer's all the same
            elif verdict == "passes":
                weak = f"failed-{one['broken']}" if one["behavior"] == "FAILED" else "non-strict"
                verdict = weak if one["broken"] else "ok"
            counts[one["version"]][verdict] += 1
        # hixie before hybi before rfc6455, as in time.
        return [(self.title, self.side, version, *(counts[version][v] for v in VERDICTS)) for version in sorted(counts)]


def left_out(case, options):
    """Whether --skip names it."""
    patterns = options[options.index("--skip") + 1].split(",") if "--skip" in options else []
    parts = case.split(".")
    return any(all(p in ("*", part) for p, part in zip(pattern.split("."), parts)) for pattern in patterns)


def subjects(binary, folders, titles):
    """`folders` are where ws, websockets, websocket-driver and PhantomJS are; `titles` have the versions."""
    ws, websockets, driver, phantomjs = (os.path.abspath(folder) for folder in folders)

    def script(interpreter, name, *more):
        return lambda: ScriptServer(name, interpreter, name, *more)

    def chromium(url):
        profile = tempfile.mkdtemp(prefix="chromium-", dir=WORK)
        page = f"file://{HERE}/conform_page.html?{url}?Chromium"
        return Proc("Chromium", [*CHROMIUM, f"--user-data-dir={profile}", page], stdin=False)

    def serve():
        return Heirloom(binary, "--versions", "all")

    return [
        Subject("server", "ws", titles["ws"], script("node", "conform_server.js", ws), "--version", "rfc6455", alone=True),
        Subject(
            "server",
            "websockets",
            titles["websockets"],
            script(sys.executable, "conform_server.py", websockets),
            "--version",
            "rfc6455",
            alone=True,
        ),
        Subject("server", "heirloom", titles["heirloom"] + " serve", serve, "--version", "all", alone=True),
        Subject(
            "server",
            "em-websocket",
            titles["em"],
            script("/usr/bin/ruby", "em_server.rb"),
            # Not hybi-04, which it takes for hybi-05.
            "--version=hixie-75,hixie-76,hybi-03,hybi-05,hybi-06,hybi-07,hybi-08,rfc6455",
            "--jobs=4",
            "--skip",
            LONG,
        ),
        Subject(
            "server",
            "websocket-driver",
            titles["driver"],
            script("node", "conform_driver.js", driver),
            "--version=hixie-75,hixie-76,rfc6455",
        ),
        Subject(
            "server",
            "perl",
            titles["perl"],
            script("/usr/bin/perl", "server.pl", "fork"),
            "--version=hixie-75,hixie-76,hybi-08,rfc6455",
            "--skip",
            LONG,
        ),
        Subject(
            "server",
            "ruby-websocket",
            titles["ruby"],
            script("/usr/bin/ruby", "server.rb", "threads"),
            # Not hybi-03, -05 and -06, which it frames otherwise: see harness.py. Not hixie-76, where it strips white space
            # off the eight octets of the request and so answers wrongly now and then.
            "--version=hixie-75,hybi-07,hybi-08",
        ),
        Subject("client", "ws", titles["ws"], f"exec node {HERE}/conform_client.js {ws} {{url}}", "--skip", LARGE),
        Subject(
            "client",
            "websockets",
            titles["websockets"],
            f"exec {sys.executable} {HERE}/conform_client.py {websockets} {{url}}",
            "--skip",
            LARGE,
        ),
        Subject(
            "client",
            "phantomjs",
            "PhantomJS 1.9.8",
            f"LD_LIBRARY_PATH={phantomjs}/lib exec {phantomjs}/phantomjs {HERE}/conform_phantom.js {{url}} PhantomJS",
            "--version",
            "hixie-76",
        ),
        Subject("client", "chromium", titles["chromium"], chromium, "--skip", LONG),
    ]


def play_all(found, binary, write):
    """Those that mostly wait are played at the same time. What went wrong is told by the checks."""
    troubles = {}

    def play(subject):
        try:
            subject.plays(binary, write)
        except (Failure, OSError, ValueError, KeyError) as e:
            troubles[subject.name] = e

    for subject in found:
        if subject.alone:
            play(subject)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(play, (subject for subject in found if not subject.alone)))
    return troubles


def check_conform(report, binary, folders, write=False, names=()):
    """Once `versions` are known. With `names` only these are played, and no tables are written."""
    found = subjects(binary, folders, {**versions, "ws": "ws " + versions["ws"]})
    strange = set(names) - {subject.name for subject in found}
    require(not strange, f"there is no {', '.join(strange)}; there are {', '.join(subject.name for subject in found)}")
    played = [subject for subject in found if not names or subject.name in names]
    troubles = play_all(played, binary, write)
    for subject in played:
        what = f"conform, {subject.title}, {subject.side}"

        def has_verdicts():
            if subject.name in troubles:
                raise troubles[subject.name]

        if not report.hold(f"{what}: has a verdict for each case", has_verdicts):
            continue
        print(f"      {len(subject.results)} cases, {subject.end['seconds']:.0f} s", flush=True)
        if not write:
            report.hold(f"{what}: fails where it is known to and nowhere else", subject.ends_as_expected)
        if subject.recorded() is not None:
            report.hold(f"{what}: each verdict is that of Autobahn|Testsuite", subject.agrees)
    report.hold("conform: each difference that is explained is of a recording", explained, found)
    if not names:
        write_tables([subject for subject in found if subject.results])


def explained(found):
    names = {subject.name for subject in found if subject.recorded() is not None}
    strange = [name for name, _ in (*DIFFERENCES, *RACES) if name not in names]
    require(not strange, f"there is no recording that is compared of {', '.join(strange)}")


# The tables of the guide.


def table(head, rows):
    lines = [head, *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |" for line in lines)


def between(text, name, what):
    """The text with `what` between the two comments."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    require(text.count(begin) == text.count(end) == 1, f"docs/conform.md has not one pair of comments for {name}")
    return text[: text.index(begin)] + begin + what + "\n" + text[text.index(end) :]


def agreement():
    """Which implementations were compared, and what differs."""
    rows, peers = [], {}
    for file in sorted(os.listdir(os.path.join(HERE, "agreement"))):
        with open(os.path.join(HERE, "agreement", file), encoding="utf-8") as f:
            one = json.load(f)
        peers[file.removesuffix(".json")] = f"{one['peer'].split(',')[0]} ({one['side']})"
        rows.append((one["peer"], one["side"], len(one["results"]), one["date"]))
    lines = [table(["implementation", "side", "cases", "date"], rows)]
    differing = collections.defaultdict(lambda: collections.defaultdict(list))
    for (name, case), (behaviour, closing, why) in DIFFERENCES.items():
        differing[f"{behaviour}, closing {closing}. {why}"][peers[name]].append(case)
    for (name, case), why in RACES.items():
        differing[f"either verdict. {why}"][peers[name]].append(case)
    for what, by_peer in sorted(differing.items()):
        where = "; ".join(f"{peer}: {', '.join(cases)}" for peer, cases in sorted(by_peer.items()))
        lines.append(f"- {where}: {what}")
    return "\n\n".join(lines[:1] + (["\n".join(lines[1:])] if lines[1:] else []))


def write_tables(found):
    rows = [row for subject in found for row in subject.rows()]
    with open(GUIDE, encoding="utf-8") as f:
        text = f.read()
    text = between(text, "conform", table(["implementation", "side", "version", *VERDICTS], rows))
    text = between(text, "agreement", agreement())
    with open(GUIDE, "w", encoding="utf-8") as f:
        f.write(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True, help="the built heirloom")
    parser.add_argument("--ws", required=True, help="folder with node_modules/ws")
    parser.add_argument("--websockets", required=True, help="folder with the package websockets")
    parser.add_argument("--driver", required=True, help="folder with node_modules/websocket-driver")
    parser.add_argument("--phantomjs", required=True, help="folder with phantomjs and lib/")
    parser.add_argument("--write-baselines", action="store_true", help="write conform-*.toml instead of holding to them")
    parser.add_argument("names", nargs="*", help="of peers that are played, such as server-perl; all without it")
    args = parser.parse_args()
    report, binary = Checks(), os.path.abspath(args.bin)
    try:
        find_echoing(binary, args.ws, args.websockets, args.driver)
        check_conform(report, binary, (args.ws, args.websockets, args.driver, args.phantomjs), args.write_baselines, args.names)
    finally:
        stop_all()
        shutil.rmtree(WORK, ignore_errors=True)
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed or not report.passed else 0


if __name__ == "__main__":
    sys.exit(main())
