"""websockets of Python with permessage-deflate as a server that echoes and does nothing else.

    conform_server.py FOLDER

FOLDER is where the package is. Prints "listening PORT".
"""

import asyncio
import logging
import sys

sys.path.insert(0, sys.argv[1])

from websockets.asyncio.server import serve

# What a case does wrong on purpose is no news.
logging.disable(logging.CRITICAL)


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def main():
    async with serve(echo, "127.0.0.1", 0, max_size=64 << 20, ping_interval=None) as server:
        print(f"listening {server.sockets[0].getsockname()[1]}", flush=True)
        await server.serve_forever()


asyncio.run(main())
