"""Rooms that two servers share over Debian's Redis, behind Debian's HAProxy; see docs/deployment.md."""

import contextlib

from asks import BEYOND_BMP, HELLO, expect, opened, require
from procs import WORK, Heirloom
from proxies import Debian, Proxy, free_port, settings
from scripts import perl_client

ROOM = "/chat"
# A client, the name of its version, and how it hears that its server goes away.
CLIENTS = [
    ("draft-hixie-75", "hixie-75", "eof"),
    ("draft-ietf-hybi-00", "hixie-76", "ff00"),
    ("draft-ietf-hybi-10", "hybi-08", "code 1001 going-away"),
    ("draft-ietf-hybi-17", "rfc6455", "code 1001 going-away"),
]


def redis():
    """A broker that keeps nothing."""
    port = free_port()
    argv = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    return Proxy("redis-server", [*argv, "--dir", WORK], port)


def drained_room(binary, debian):
    """Members of each version on both servers; one drains, and its members come back to the other."""
    port = free_port()
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(redis())

        def start(on=0):
            topics = f"redis://127.0.0.1:{broker.port}"
            options = ["-v", "--versions", "all", "--accept-proxy", "127.0.0.1", "--topics", topics]
            server = stack.enter_context(Heirloom(binary, *options, port=on))
            server.wait_to_say("topics are shared over redis://127.0.0.1:")
            return server

        one, two = start(), start()
        replaced = {":8000": f":{port}", ":8076": f":{one.port}", ":8077": f":{two.port}"}
        balancer = stack.enter_context(debian.haproxy_with(settings("haproxy-rooms.cfg", replaced), port))
        seen = {server: 0 for server in (one, two)}

        def land(client, version):
            """A member, and the server that it came to: the balancer takes them in turn."""
            member = stack.enter_context(opened(client, port, ROOM))
            for server in seen:
                with open(server.log.name, "rb") as f:
                    count = f.read().count(f"{version} open {ROOM}".encode())
                if count > seen[server]:
                    seen[server] = count
                    return member, server
            raise AssertionError(f"no server has a member of {version}")

        def heard(text, speaker, members):
            """All others of the room hear it, and the speaker does not."""
            speaker.text(text)
            for member in members:
                if member is not speaker:
                    expect(member, "text", text)

        members = []
        for name, version, closing in CLIENTS:
            seen.update(dict.fromkeys(seen, 0))
            for _ in range(2):
                member, server = land(perl_client(name), version)
                members.append((member, server, closing, name, version))
        places = {server: sum(1 for m in members if m[1] is server) for server in seen}
        require(set(places.values()) == {len(CLIENTS)}, f"the members are spread as {list(places.values())}")
        for n, (member, *_) in enumerate(members):
            heard(f"{n} {BEYOND_BMP}", member, [m[0] for m in members])
        code = one.drain()
        require(code == 0, f"the server that drains exits with {code}")
        stay = [m for m in members if m[1] is two]
        for member, server, closing, *_ in members:
            if server is one:
                expect(member, "closed", closing)
        heard(HELLO, stay[0][0], [m[0] for m in stay])
        back = []
        for name, version, _ in CLIENTS:
            back.append(stack.enter_context(opened(perl_client(name), port, ROOM)))
        room = [m[0] for m in stay] + back
        for n, member in enumerate(room):
            heard(f"again {n}", member, room)
        at = balancer.wait_to_say("servers/one is DOWN")
        again = start(one.port)
        balancer.wait_to_say("servers/one is UP, reason: Layer7 check passed, code: 200", at)
        newcomer = stack.enter_context(opened(perl_client(CLIENTS[0][0]), port, ROOM))
        again.wait_to_say(f"open {ROOM}")
        heard("all together", newcomer, [*room, newcomer])
        heard("once more", room[0], [*room, newcomer])


def check_rooms(report, binary, debian_folder):
    report.hold("rooms: two servers share one behind HAProxy", drained_room, binary, Debian(debian_folder))
