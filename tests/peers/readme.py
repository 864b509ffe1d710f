"""The blocks of README.md that need a browser. tests/readme runs those of a shell and of Rust."""

import os
import re

from asks import require
from driven import NewPage, OldPage
from procs import HERE, WORK, Failure, Heirloom
from recordings import ROOT

# The address of all its examples.
ADDRESS = "127.0.0.1:8076"
KINDS = {"console", "html", "js", "rust"}


class Block:
    def __init__(self, line, kind, text, before):
        self.line, self.kind, self.text = line, kind, text
        self.before = before  # the paragraph above it


def blocks():
    found, before, inside = [], "", None
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            if line.startswith("```"):
                if inside is None:
                    inside = Block(number, line[3:].strip(), "", before)
                    require(inside.kind in KINDS, f"README.md:{number}: a block of kind {inside.kind!r}, which nothing runs")
                else:
                    found.append(inside)
                    inside = None
            elif inside is not None:
                inside.text += line
            elif line.strip():
                before = line.strip()
    require(inside is None, "README.md: a block without an end")
    return found


def only(found, kind):
    """The example of a browser of today, and that of an old one: a second one of a kind needs a check of its own."""
    matching = [block for block in found if block.kind == kind]
    require(len(matching) == 1, f"README.md has {len(matching)} blocks of kind {kind}; this check is for one")
    return matching[0]


def runs_in_the_console(chromium, block, server):
    """On the page that the sentence above it names."""
    named = re.search(r"Open <(http://[^>]+)>", block.before)
    require(named, f"README.md:{block.line}: no page is named where the console is to be opened")
    page = NewPage(chromium)
    try:
        page.open(named[1].replace(ADDRESS, f"127.0.0.1:{server.port}"))
        page.value(block.text.replace(ADDRESS, f"127.0.0.1:{server.port}"))
        page.wait_to_log("got hello")
        require(page.errors() == [], f"the console says {page.errors()}")
    finally:
        page.close()


def saved(block, port):
    path = os.path.join(WORK, "hello.html")
    with open(path, "w", encoding="utf-8") as f:
        f.write(block.text.replace(ADDRESS, f"127.0.0.1:{port}"))
    return f"file://{path}"


PARAGRAPHS = "Array.prototype.map.call(document.querySelectorAll('p'), function (p) { return p.textContent; }).join(' / ')"


def runs_as_a_page(page, block, port):
    page.open(saved(block, port))
    page.wait(f"{PARAGRAPHS} === 'got hello / closed'", "\"got hello\" and \"closed\"")


TIME = re.compile(r"^heirloom: \[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ")


def normal(line):
    """Without the time, and the port of the peer."""
    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", TIME.sub("heirloom: [TIME ", line))


def is_logged(binary, found, old, chromium):
    """The log that README shows, of that page in both browsers."""
    page = only(found, "html")
    shown = [block for block in found if block.text.startswith("$ heirloom serve -vv\n")]
    require(len(shown) == 1, f"README.md shows {len(shown)} logs")
    due = [normal(line) for line in shown[0].text.splitlines()[2:]]
    with Heirloom(binary, "-vv") as server:
        runs_as_a_page(old, page, server.port)
        new = NewPage(chromium)
        runs_as_a_page(new, page, server.port)
        server.wait_to_say("closed by the peer")
        new.close()
        with open(server.log.name, encoding="utf-8") as f:
            got = [normal(line) for line in f.read().splitlines()]
    require(got == due, "README.md:{}: the log is\n{}".format(shown[0].line, "\n".join(got)))


def check_readme(report, binary, phantomjs_folder, chromium):
    try:
        found = blocks()
        script, page = only(found, "js"), only(found, "html")
    except Failure as e:
        report.hold("README.md: each block is of a known kind", require, False, e)
        return
    old = OldPage(phantomjs_folder)
    with Heirloom(binary) as server:
        report.hold("README.md: the script in Chromium's console", runs_in_the_console, chromium, script, server)
        report.hold("README.md: the page in PhantomJS", runs_as_a_page, old, page, server.port)
        new = NewPage(chromium)
        report.hold("README.md: the page in Chromium", runs_as_a_page, new, page, server.port)
        new.close()
    report.hold("README.md: the log of that page in both", is_logged, binary, found, old, chromium)
    old.close()
