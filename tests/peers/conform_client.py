"""websockets of Python as a test client, by the protocol that Autobahn|Testsuite documents for its fuzzing server.

    conform_client.py FOLDER URL

FOLDER is where the package is; URL has no slash at its end.
"""

import asyncio
import logging
import sys

folder, url = sys.argv[1:]
sys.path.insert(0, folder)

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

AGENT = "websockets"

# What a case does wrong on purpose is no news.
logging.disable(logging.CRITICAL)


def open_at(target):
    return connect(url + target, max_size=64 << 20, ping_interval=None, close_timeout=1, proxy=None)


async def walk():
    async with open_at("/getCaseCount") as socket:
        count = int(await socket.recv())
    for number in range(1, count + 1):
        try:
            async with open_at(f"/runCase?case={number}&agent={AGENT}") as socket:
                async for message in socket:
                    await socket.send(message)
        except (WebSocketException, OSError, EOFError):
            pass  # the verdict is the tester's
    async with open_at(f"/updateReports?agent={AGENT}") as socket:
        async for _ in socket:
            pass


asyncio.run(walk())
