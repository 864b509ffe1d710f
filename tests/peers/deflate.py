"""websockets of Python with permessage-deflate, as a server that echoes or as a client of one connection.

    deflate.py FOLDER SETTINGS serve
    deflate.py FOLDER SETTINGS PORT PATH VERSION

FOLDER is where the package is. SETTINGS are the parameters of the extension as JSON, or null for no compression; "tls" among
them is that of deflate.js. Orders and events are too.
"""

import json
import ssl
import sys
import threading

folder, settings, port = sys.argv[1:4]
sys.path.insert(0, folder)

from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory
from websockets.sync.client import connect
from websockets.sync.server import serve

settings = json.loads(settings)
tls = settings.pop("tls", None) if settings else None
context = None
if tls and port == "serve":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls["cert"], tls["key"])
elif tls:
    context = ssl.create_default_context(cafile=tls["ca"])
if tls:
    context.minimum_version = context.maximum_version = ssl.TLSVersion[tls["version"].replace(".", "_")]


def options(factory):
    extensions = None if settings is None else [factory(**settings)]
    return {"compression": None, "extensions": extensions, "max_size": 16 << 20, "ssl": context}


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def echo(socket):
    say("open")
    for count, message in enumerate(socket, 1):
        third = -(-len(message) // 3)
        parts = [message[:third], message[third : 2 * third], message[2 * third :]]
        socket.send(message if count % 3 else parts)
    say(f"closed {socket.close_code}")


def hear(socket):
    try:
        for message in socket:
            if isinstance(message, str):
                say("text " + message.encode().hex())
            else:
                say("binary " + message.hex())
    except ConnectionClosed:
        pass  # the code says how
    say(f"closed code {socket.close_code}")


def obey(socket, verb, more):
    if verb == "text":
        socket.send(bytes.fromhex(more).decode())
    elif verb == "binary":
        socket.send(bytes.fromhex(more))
    elif verb == "pieces":
        kind, parts = more.split(" ")
        parts = [bytes.fromhex(part) for part in parts.split(",")]
        socket.send([part.decode() for part in parts] if kind == "text" else parts)
    elif verb == "close":
        octets = bytes.fromhex(more)
        socket.close(int.from_bytes(octets[:2], "big"), octets[2:].decode())


if port == "serve":
    with serve(echo, "127.0.0.1", 0, **options(ServerPerMessageDeflateFactory)) as server:
        say(f"listening {server.socket.getsockname()[1]}")
        server.serve_forever()
else:
    with connect(f"{'wss' if tls else 'ws'}://127.0.0.1:{port}{sys.argv[4]}", **options(ClientPerMessageDeflateFactory)) as socket:
        say("open")
        hearing = threading.Thread(target=hear, args=[socket], daemon=True)
        hearing.start()
        for line in sys.stdin:
            verb, _, more = line.rstrip("\n").partition(" ")
            obey(socket, verb, more)
            if verb == "close":
                break
        hearing.join()
