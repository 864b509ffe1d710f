"""A test client on websockets of Python, as the documentation of Autobahn|Testsuite describes one: it counts the cases, is
tested with each, and has the reports written.

    conform_client.py FOLDER URL [AGENT]

FOLDER is where the package is, URL that of the tester, such as ws://127.0.0.1:9001.
"""

import sys
import urllib.parse

folder, url = sys.argv[1:3]
agent = sys.argv[3] if len(sys.argv) > 3 else "websockets"
sys.path.insert(0, folder)

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

name = "agent=" + urllib.parse.quote(agent)


def ask(what):
    """The text that the tester answers; None where it only closes."""
    with connect(url + what) as socket:
        return next(iter(socket), None)


def run(number):
    # Most cases break a rule: whether the end is right, the tester knows.
    try:
        with connect(f"{url}/runCase?case={number}&{name}", max_size=64 << 20) as socket:
            for message in socket:
                socket.send(message)
    except (WebSocketException, OSError):
        pass


for number in range(1, int(ask("/getCaseCount")) + 1):
    run(number)
ask("/updateReports?" + name)
