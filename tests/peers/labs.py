"""The lab page of `heirloom serve` in browsers of both eras, on one server: shown, pressed, read."""

import json
import os
import re

from asks import require, shortly
from driven import Chromium, NewPage, OldPage
from procs import WORK, Failure, Heirloom
from recordings import run, said

LAB_COLUMNS = ["shown", "text", "UTF-8", "64 KiB", "1 MiB", "binary", "trips", "chat", "explained", "listed", "vector"]
LAB_COLUMNS += ["closes", "keyboard"]
TESTS = {"text": "test-text", "UTF-8": "test-utf8", "64 KiB": "test-64k", "1 MiB": "test-1m", "binary": "test-binary"}
# What an explanation has of each version.
DERIVATIONS = {
    "hixie-76": ["The number in key 1", "The number in key 2", "The digest that the server must send"],
    "rfc6455": ["The accept that the server must send", "The accept, checked"],
}
# Of text against what is behind it, at least: WCAG 2, 1.4.3.
CONTRAST = 4.5


def url(server):
    return f"http://127.0.0.1:{server.port}/"


# Checks of a page.


def shows_version(page, version):
    page.wait("document.getElementById('version').textContent !== '-'", "version")
    says = page.text("says")
    require(says == f"This browser speaks {version}", f"it says {says!r}")
    for name, due in (("version", version), ("subprotocol", "none"), ("state", "open")):
        require(page.text(name) == due, f"{name} is {page.text(name)!r}, not {due!r}")
    for name in ("document", "clients"):
        require(len(page.text(name)) > 8, f"{name} is {page.text(name)!r}")
    speaks = page.text("speaks")
    require(speaks.endswith(f" is known to speak {version}."), f"what it is known to speak is {speaks!r}")


def heard(page, selector, since, what):
    """The line that such a list has gained."""
    page.wait(f"document.querySelectorAll({json.dumps(selector)}).length > {since}", what)
    return page.texts(selector)[since]


def is_tried(page, kind, press):
    since = len(page.texts("#results li"))
    press(page, TESTS[kind])
    result = heard(page, "#results li", since, f"result of {kind}")
    require(re.fullmatch(re.escape(kind) + r": back as it went, in [\d.]+ ms", result), f"the result is {result!r}")
    good = page.value(f"document.querySelectorAll('#results li')[{since}].className")
    require(good == "good", f"the result has the class {good!r}")


def click(page, name):
    page.press(name)


def has_no_binary(page):
    require(page.disabled("test-binary"), "it can press Binary, and has no binary messages")


def plots(page):
    words = "/^last [0-9.]+ ms, median [0-9.]+ ms, most [0-9.]+ ms, of [2-9]/"
    page.wait(f"{words}.test(document.getElementById('trips').textContent)", "second round trip")
    painted = page.value(
        "(function () { var c = document.querySelector('#plot canvas'), i, n = 0,"
        " d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        " for (i = 3; i < d.length; i += 4) { n += d[i] ? 1 : 0; } return n; }())"
    )
    require(painted > 20, f"{painted} points are painted")


def chats(page, other, submit):
    words = f"from {page.title} <b>&amp;\U0001f600"
    since, ours = len(other.texts("#heard li")), len(page.texts("#heard li"))
    submit(page, words)
    line = heard(page, "#heard li", ours, "line of its own")
    require(line == f"you: {words}", f"it says {line!r}")
    line = heard(other, "#heard li", since, f"line from {page.title}")
    require(line == words, f"{words!r} was said, {line!r} is heard")
    require(page.value("document.getElementById('line').value") == "", "what was said stands there still")


def submits(page, words):
    page.value(f"document.getElementById('line').value = {json.dumps(words)}")
    page.press("say")


def is_explained(page, version):
    page.wait("document.querySelectorAll('#explanation h3').length", "explanation")
    titles, told = page.texts("#explanation h3"), page.text("explanation")
    for due in (f"The browser: request of {version}", "The server: response 101", *DERIVATIONS[version]):
        require(due in titles, f"{due!r} is not among {titles}")
    for due in ("GET /lab/", "Sec-WebSocket-", f"127.0.0.1:{page.value('location.port')}", "HTTP/1.1 101 "):
        require(due in told, f"{due!r} is not explained")
    for wrong in ("undefined", "null", "NaN", "[object"):
        require(wrong not in told, f"the explanation has {wrong!r}")
    verdict = page.text("verdict")
    require(verdict.startswith("the handshake is right"), f"the verdict is {verdict!r}")
    require(page.value("document.getElementById('verdict').className") == "good", "the verdict has no sign")


def lists(page, *versions):
    """Two connections of each page: its own and that of its chat."""
    page.wait(f"document.querySelectorAll('#open tbody tr').length === {2 * len(versions)}", "list of the others")
    rows = page.texts("#open tbody tr")
    for version in versions:
        ages = [row for row in rows if re.fullmatch(re.escape(version) + r"\d+ s", row)]
        require(len(ages) == 2, f"{version} is not twice in {rows}")
    require(page.texts("#open th") == ["version", "since"], f"the list has the heads {page.texts('#open th')}")
    require(page.text("count") == f"{2 * len(versions)} connections", f"it counts {page.text('count')!r}")


def gives_vector(page, binary, version):
    status, kind, name, text = page.value(
        "(function () { var xhr = new XMLHttpRequest(); xhr.open('GET', document.getElementById('vector').href, false);"
        " xhr.send(null); return [xhr.status, xhr.getResponseHeader('Content-Type'),"
        " xhr.getResponseHeader('Content-Disposition'), xhr.responseText]; }())"
    )
    require(status == 200 and kind == "application/json", f"the vector comes as {status} {kind}")
    require(name == 'attachment; filename="heirloom-recording.json"', f"it is to be kept as {name}")
    path = os.path.join(WORK, f"{page.title}-lab.json")
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    vectors = json.loads(text)["vectors"]
    require([v["version"] for v in vectors] == [version], f"it is {[v['version'] for v in vectors]}, not {version}")
    for options in ([], ["--fmt-check"]):
        code, lines, more = run("heirloom check", [binary, "check", *options, path])
        require(code == 0, f"heirloom check {options} exits with {code}: {said(lines)}{more}")


def closes(page, binary, version, press):
    press(page, "close")
    page.wait("document.getElementById('state').textContent.indexOf('closed') === 0", "close")
    for name in ("close", "test-text", "test-binary"):
        require(page.disabled(name), f"{name} can be pressed, and nothing is open")
    gives_vector(page, binary, version)
    press(page, "reconnect")
    page.wait("document.getElementById('state').textContent === 'open'", "second connection")
    require(page.disabled("reconnect"), "it can connect again, and is connected")
    shows_version(page, version)


# By keyboard.

FOCUSED = "document.activeElement ? document.activeElement.id || document.activeElement.tagName : ''"
CONTROLS = """(function () {
  var found = [], all = document.querySelectorAll('button, input, a[href]'), i;
  for (i = 0; i < all.length; i++) { if (!all[i].disabled && all[i].offsetWidth) { found.push(all[i].id); } }
  return found;
}())"""


def tabs_to(page, name):
    for _ in range(24):
        if page.value(FOCUSED) == name:
            return
        page.key("Tab")
    raise Failure(f"{page.title}: no Tab comes to {name}")


def enters(page, name):
    tabs_to(page, name)
    page.key("Enter")


def types(page, words):
    tabs_to(page, "line")
    page.write(words)
    page.key("Enter")


def is_pressed(page, other, binary, version):
    """Nothing of it needs a mouse."""
    tabs_to(page, "BODY")
    due, stops = page.value(CONTROLS), []
    for _ in due:
        page.key("Tab")
        stops.append(page.value(FOCUSED))
        outline = page.value("getComputedStyle(document.activeElement, null).outlineWidth")
        # A window that is none has no focus, and no focus is shown in it: so it is in PhantomJS.
        require(outline == "3px" or not page.value("document.hasFocus()"), f"{stops[-1]}: an outline of {outline}")
    require(stops == due, f"Tab goes to {stops}, and there are {due}")
    require({"close", "line", "say", "vector", "test-1m"} <= set(stops), f"Tab goes to {stops} only")
    for kind, name in TESTS.items():
        if name in stops:
            is_tried(page, kind, enters)
    words = "typed"
    since = len(other.texts("#heard li"))
    types(page, words)
    line = heard(other, "#heard li", since, "line that was typed")
    require(line == words, f"{words!r} was typed, {line!r} is heard")
    closes(page, binary, version, enters)
    require(page.value(FOCUSED) == "close", f"after all the focus is on {page.value(FOCUSED)}")


# What else a page is trusted with.

CONTRASTS = """(function () {
  function octets(colour) { return (colour.match(/[0-9.]+/g) || []).map(Number); }
  function light(colour) {
    var c = octets(colour).slice(0, 3).map(function (v) {
      v /= 255;
      return v <= 0.03928 ? v / 12.92 : Math.pow((v + 0.055) / 1.055, 2.4);
    });
    return 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2];
  }
  function behind(node) {
    for (; node; node = node.parentElement) {
      var colour = getComputedStyle(node).backgroundColor, c = octets(colour);
      if (c.length === 3 || c[3] === 1) { return colour; }
      if (c[3] !== 0) { return 'rgb(128, 128, 128)'; }
    }
    return 'rgb(255, 255, 255)';
  }
  var pairs = {}, walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), text, node, ink, paper, one, two;
  while ((text = walker.nextNode())) {
    node = text.parentElement;
    if (!text.nodeValue.trim() || !node.getClientRects().length || /^(SCRIPT|STYLE)$/.test(node.tagName)) { continue; }
    ink = getComputedStyle(node).color;
    paper = behind(node);
    one = light(ink);
    two = light(paper);
    pairs[ink + ' on ' + paper] = [(Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05), text.nodeValue.trim().slice(0, 30)];
  }
  return pairs;
}())"""


def is_readable(page, at_least=3):
    pairs = page.value(CONTRASTS)
    require(len(pairs) >= at_least, f"only {len(pairs)} pairs of colours: {pairs}")
    faint = {pair: told for pair, told in pairs.items() if told[0] < CONTRAST}
    require(not faint, f"contrast of less than {CONTRAST}: {faint}")


def fits(page, *widths):
    for width in widths:
        page.size(width, 900)
        wide = page.value("document.scrollingElement.scrollWidth")
        require(wide <= width, f"at {width} pixels it is {wide} wide")


def complains_of_nothing(page, server):
    require(page.errors() == [], f"the console says {page.errors()}")
    here = f"127.0.0.1:{server.port}/"
    strange = [asked for asked in page.requests if not asked.split("://")[-1].startswith(here)]
    require(page.requests and not strange, f"it asks for {strange or 'nothing'}")


def is_refused(page, folder):
    page.wait("document.getElementById('state').textContent === 'the handshake failed'", "failure")
    page.wait("document.getElementById('says').textContent.indexOf('version-off') > 0", "the server's word")
    says = page.text("says")
    for due in ("This browser speaks hixie-76. The handshake failed: version-off.", "PhantomJS 1.9 is known to speak hixie-76.", "--versions +hixie-76"):
        require(due in says, f"it says {says!r}")
    require(page.disabled("test-text") and page.disabled("close"), "there is something to press")
    require(not page.disabled("reconnect"), "it cannot try again")
    require(page.value("document.getElementById('vector').offsetWidth") > 0, "there is no vector of the refusal")
    require("426" in page.text("explanation"), "the answer is not explained")
    page.shot(os.path.join(folder, "lab-refused.png"))


def has_none(chromium, server, folder):
    page = NewPage(chromium, "delete window.WebSocket;")
    try:
        page.open(url(server))
        require(page.text("says") == "This browser has no WebSocket at all.", f"it says {page.text('says')!r}")
        page.wait("document.querySelectorAll('#open th').length", "list")
        require(page.value(CONTROLS) == [], f"it can press {page.value(CONTROLS)}")
        complains_of_nothing(page, server)
        page.shot(os.path.join(folder, "lab-none.png"))
    finally:
        page.close()


def runs_no_script(chromium, server):
    page = NewPage(chromium)
    try:
        page.scripts(False)
        page.open(url(server))
        says = page.text("says")
        require("runs no script" in says, f"it says {says!r}")
    finally:
        page.close()


def check_page(report, row, page, other, binary, versions):
    """What it is pressed for; the other page is there meanwhile."""
    version = row[2]
    report.check(row, "shown", shows_version, page, version)
    for kind in TESTS:
        if kind == "binary" and version == "hixie-76":
            report.hold(f"lab, {row[0]}: Binary is off", has_no_binary, page)
        else:
            report.check(row, kind, is_tried, page, kind, click)
    report.check(row, "trips", plots, page)
    report.check(row, "chat", chats, page, other, submits)
    report.check(row, "explained", is_explained, page, version)
    report.check(row, "listed", lists, page, *versions)
    report.check(row, "vector", gives_vector, page, binary, version)
    report.check(row, "closes", closes, page, binary, version, click)
    report.check(row, "keyboard", is_pressed, page, other, binary, version)


def check_labs(report, binary, phantomjs_folder, title, folder):
    """Both browsers on one server at the same time; the pictures go to `folder`. The Chromium goes on."""
    rows = [report.row("PhantomJS 1.9.8", "lab", "hixie-76"), report.row(title, "lab", "rfc6455")]
    versions = [row[2] for row in rows]
    old, chromium = OldPage(phantomjs_folder), Chromium()
    with Heirloom(binary) as server:
        new = NewPage(chromium)
        for page in (old, new):
            page.open(url(server))
        check_page(report, rows[0], old, new, binary, versions)
        check_page(report, rows[1], new, old, binary, versions)
        for page, name in ((old, "lab-phantomjs"), (new, "lab-chromium")):
            page.value("scrollTo(0, 0)")
            page.shot(os.path.join(folder, f"{name}.png"))
            page.shot(os.path.join(folder, f"{name}-whole.png"), whole=True)
        report.hold("lab, PhantomJS: nothing is wrong in its console", nothing_wrong, old)
        report.hold("lab, Chromium: nothing is wrong in its console, nothing is asked elsewhere", complains_of_nothing, new, server)
        report.hold("lab, Chromium: contrast", is_readable, new)
        report.hold("lab, Chromium: as wide as a telephone and as a desk", fits, new, 1280, 390, 320)
        new.size(390, 844)
        new.value("scrollTo(0, 0)")
        new.shot(os.path.join(folder, "lab-phone.png"))
        new.close()
        report.hold("lab, Chromium: a browser without WebSocket is told so", has_none, chromium, server, folder)
        report.hold("lab, Chromium: a browser without script is told so", runs_no_script, chromium, server)
    with Heirloom(binary, "--versions", "13") as server:
        old.open(url(server))
        report.hold("lab, PhantomJS: a version that is off is named", is_refused, old, folder)
    old.close()
    return chromium


def nothing_wrong(page):
    require(page.errors() == [], f"the console says {shortly(page.errors())}")
