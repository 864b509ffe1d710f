"""The page that `heirloom explain --html` writes, in Chromium: its width, its lights, its print, its silence."""

import os
import re

from asks import require
from driven import NewPage
from labs import fits, is_readable
from procs import WORK
from recordings import ROOT, run, said

EXAMPLES = [
    ("hixie-76/draft-examples.json", "hixie-76/draft-overview"),
    ("hixie-76/recorded.json", None),
    ("rfc6455/recorded.json", None),
]
# Octets of one field, its words, and words of the same place in another row.
FIELD = """(function () {
  var rows = document.querySelectorAll('.row'), i, octets, words, other;
  for (i = 1; i < rows.length; i++) {
    octets = rows[i].querySelector('.octets .k2 .o');
    words = rows[i].querySelector('.words .k2');
    other = rows[i - 1].querySelector('.words .k2');
    if (octets && words && other) { return [octets, words, other]; }
  }
}())"""
LIT = f"{FIELD}.map(function (one) {{ return getComputedStyle(one).backgroundColor; }})"
SEEN = f"{FIELD}[0].scrollIntoView({{ block: 'center', behavior: 'instant' }})"
MIDDLE = f"""(function () {{
  var place = {FIELD}[0].getBoundingClientRect();
  return [place.left + place.width / 2, place.top + place.height / 2];
}}())"""
TARGETS = """(function () {
  var links = document.querySelectorAll('a[href]'), ids = {}, wrong = [];
  document.querySelectorAll('[id]').forEach(function (one) {
    if (ids[one.id]) { wrong.push('twice: ' + one.id); }
    ids[one.id] = true;
  });
  links.forEach(function (one) {
    var href = one.getAttribute('href');
    if (href[0] !== '#' || !ids[href.slice(1)]) { wrong.push(href); }
  });
  return [links.length, wrong];
}())"""


def written(binary, file, vector):
    argv = [binary, "explain", os.path.join(ROOT, "vectors", file), "--html"] + (["--vector", vector] if vector else [])
    code, lines, more = run("heirloom explain", argv)
    require(code == 0, f"heirloom explain exits with {code}: {said(lines)}{more}")
    path = os.path.join(WORK, f"{file.replace('/', '-')}.html")
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(lines))
    return "file://" + path


def lights(page):
    """Pointing at an octet lights its words, and those only."""
    page.point(1, 1)
    page.value(SEEN)
    dark = page.value(LIT)
    page.point(*page.value(MIDDLE))
    lit = page.value(LIT)
    require(lit[0] != dark[0] and lit[1] != dark[1], f"an octet is pointed at, its words stay {lit[1]}")
    require(lit[0] == lit[1], f"the octet is {lit[0]}, its words are {lit[1]}")
    require(lit[2] == dark[2], f"the words of another row become {lit[2]}")
    is_readable(page)
    page.point(1, 1)
    require(page.value(LIT) == dark, f"nothing is pointed at, and {page.value(LIT)} is lit")


def lights_by_keyboard(page):
    for _ in range(200):
        page.key("Tab")
        if page.value("document.activeElement.className") == "octets":
            break
    octet = "getComputedStyle(document.activeElement.querySelector('.o')).backgroundColor"
    lit = page.value(octet)
    page.value("document.activeElement.blur()")
    dark = page.value("getComputedStyle(document.querySelector('.octets .o')).backgroundColor")
    require(lit != dark, f"Tab comes to octets, and they stay {lit}")


def leads_somewhere(page):
    links, wrong = page.value(TARGETS)
    require(links > 5 and not wrong, f"of {links} links these lead nowhere: {wrong}")


def is_silent(page, url):
    require(page.errors() == [], f"the console says {page.errors()}")
    require(page.requests == [url], f"it asks for {page.requests}")


def prints(page):
    pdf = page.pdf()
    pages = len(re.findall(rb"/Type\s*/Page\b", pdf))
    require(pdf.startswith(b"%PDF-") and pages > 1, f"{len(pdf)} octets with {pages} pages are printed")


def is_readable_in_both(page):
    try:
        for scheme in ("dark", "light"):
            page.scheme(scheme)
            is_readable(page)
    finally:
        page.scheme("light")


def check_explained(report, binary, chromium, folder):
    for file, vector in EXAMPLES:
        name = f"explain --html, {vector or file}: "
        page = NewPage(chromium)
        try:
            url = written(binary, file, vector)
            page.open(url)
            report.hold(name + "pointing at an octet lights its words", lights, page)
            report.hold(name + "Tab lights octets", lights_by_keyboard, page)
            report.hold(name + "every link leads somewhere", leads_somewhere, page)
            report.hold(name + "contrast, light and dark", is_readable_in_both, page)
            report.hold(name + "as wide as a telephone and as a desk", fits, page, 1280, 390, 320)
            report.hold(name + "more than one page is printed", prints, page)
            report.hold(name + "nothing is wrong in its console, nothing is asked elsewhere", is_silent, page, url)
            if vector:
                shots(page, folder)
        finally:
            page.close()


def shots(page, folder):
    for name, width, height in (("desktop", 1280, 900), ("phone", 390, 844)):
        page.size(width, height)
        page.value("scrollTo({ top: 0, behavior: 'instant' })")
        page.point(*page.value(MIDDLE))
        page.shot(os.path.join(folder, f"explain-{name}.png"))
        page.point(1, 1)
        page.shot(os.path.join(folder, f"explain-{name}-whole.png"), whole=True)
    page.size(1280, 900)
    page.scheme("dark")
    page.shot(os.path.join(folder, "explain-dark.png"))
