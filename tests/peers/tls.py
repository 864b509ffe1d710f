"""TLS of today and of 2010: browsers and libraries over it, both ways, and what else comes to the same port."""

import json
import os
import sys
import threading
import time

import browsers
import certificates
import labs
from asks import BEYOND_BMP, HELLO, MIB_TEXT, echoes, echoes_binary, expect, opened, require, shortly
from compressed import Library
from driven import Chromium, NewPage
from gateways import CLIENT, Backend, Gateway, backend_head
from procs import HERE, PATIENCE, Failure, Heirloom, Proc
from proxies import Debian, free_port, settings, written
from raw import BODY_76, DIGEST_76, HIXIE_75, HIXIE_76, RFC_6455, Raw, header
from tap import Tap

TLS_COLUMNS = ["connects", "UTF-8", "1 MiB", "binary", "200", "closes"]
ROW_OF_200 = [f"message {i} \u00e9" for i in range(200)]
NAMES = {0x0301: "TLS 1.0", 0x0302: "TLS 1.1", 0x0303: "TLS 1.2", 0x0304: "TLS 1.3"}
HELLOS = os.path.join(HERE, "..", "tls", "hellos.json")
POLICY = b"<policy-file-request/>\0"


def number(octets):
    return int.from_bytes(octets, "big")


def extensions(octets):
    """By their numbers; `octets` start with the length of all."""
    found, at = {}, 2
    while at < 2 + number(octets[:2]):
        length = number(octets[at + 2 : at + 4])
        found[number(octets[at : at + 2])] = octets[at + 4 : at + 4 + length]
        at += 4 + length
    return found


def chosen(octets):
    """The version and suite that the first message of a server says."""
    octets = bytes(octets)
    require(octets[:1] == b"\x16" and octets[5:6] == b"\x02", f"no ServerHello: {octets[:40].hex()}")
    at = 44 + octets[43]
    more = extensions(octets[at + 3 :]) if at + 3 < 9 + number(octets[6:9]) else {}
    version = number(more.get(0x002B, octets[9:11]))
    return NAMES.get(version, hex(version)), number(octets[at : at + 2])


class Secure:
    """A browser that dials wss."""

    def __init__(self, browser):
        self.browser = browser

    def open(self, port, path="/"):
        return self.browser.open(port, path, scheme="wss")


# Checks of a client.


def connects(client, port, due):
    tap = Tap(port)
    with opened(client, tap.port) as socket:
        socket.text(HELLO)
        expect(socket, "text", HELLO)
        version, suite = chosen(tap.down)
    require(version == due, f"it is {version} with the suite {suite:#06x}, not {due}")


def asks_through(client, port, due):
    """What the backend is told of the client."""
    connects(client, port, due)
    with opened(client, port) as socket:
        socket.text("head")
        told = json.loads(expect(socket, "text"))["headers"]
    require(told["x-forwarded-proto"] == "https", f"X-Forwarded-Proto is {told['x-forwarded-proto']}")
    require("proto=https" in told["forwarded"], f"Forwarded is {told['forwarded']}")


def closes(client, port, event):
    """
    Either end may be the first that ends TCP, and none does so by a reset, which could discard what came before. Where
    the server has ended, nothing came before: QtWebKit resets where the end of TLS finds it closed.
    """
    tap = Tap(port)
    with opened(client, tap.port) as socket:
        socket.text(HELLO)
        expect(socket, "text", HELLO)
        socket.close()
        expect(socket, "closed", event)
        tap.wait_ended()
    ended = [tap.ended[0], tap.ended[1].removesuffix(" by reset") if tap.ended[0] == "server" else tap.ended[1]]
    require(sorted(ended) == ["client", "server"], f"TCP ends in this order: {tap.ended}")


def with_another_try(check):
    """
    The client of Python websockets now and then waits in vain for a response that has arrived. It does so with its own
    server too, behind a relay and in TLS: once in some hundred times.
    """

    def checked(*args):
        try:
            check(*args)
        except Failure as failure:
            if "timed out while waiting for handshake response" not in str(failure):
                raise
            check(*args)

    return checked


def check_client(report, peer, client, version, tls, role, port, binary, event):
    row = report.row(peer, "tls", version, tls, role)
    report.check(row, "connects", with_another_try(asks_through if role == "gateway" else connects), client, port, tls)
    for column, messages in (("UTF-8", [BEYOND_BMP]), ("1 MiB", [MIB_TEXT]), ("200", ROW_OF_200)):
        report.check(row, column, echoes, client, port, *messages)
    if binary:
        report.check(row, "binary", echoes_binary, client, port)
    report.check(row, "closes", with_another_try(closes), client, port, event)


def sends_its_hello(client, port, name):
    """The ClientHello is the one that tests/tls/hellos.json has, but for its random octets."""
    with open(HELLOS, encoding="utf-8") as f:
        known = {hello["id"]: bytes.fromhex(hello["hex"]) for hello in json.load(f)["hellos"]}[name]
    tap = Tap(port)
    with opened(client, tap.port):
        sent = bytes(tap.up[: len(known)])
    for octets in (sent, known):
        require(len(octets) > 43, f"it sends {sent.hex()}")
    require(sent[:11] + sent[43:] == known[:11] + known[43:], f"it sends {sent.hex()}")


# Old clients that are none of a browser: each version, and suites that only OpenSSL has.

OLD = (
    ("TLSv1", "AES128-SHA"),
    ("TLSv1", "ECDHE-RSA-AES256-SHA"),
    ("TLSv1_1", "AES256-SHA"),
    ("TLSv1_2", "AES128-SHA256"),
)


def converses(raw, head, scheme="wss"):
    """A client of hixie, which compares the location."""
    old = head is HIXIE_75
    raw.ask(head, "/a?b=c", body=b"" if old else BODY_76)
    location = header(raw.head(), "WebSocket-Location" if old else "Sec-WebSocket-Location")
    require(location == f"{scheme}://{raw.host}/a?b=c", f"the location is {location}")
    if not old:
        digest = raw.octets(16)
        require(digest == DIGEST_76, f"the proof is {digest!r}")
    require(raw.hixie_text(HELLO) == HELLO, "no echo")


def speaks_old(port, version, suite, head):
    tls = certificates.rsa().client(version, f"{suite}:@SECLEVEL=0")
    with Raw(port, tls=tls) as raw:
        require(raw.socket.version() == version.replace("_", "."), f"it is {raw.socket.version()}")
        require(raw.socket.cipher()[0] == suite, f"it is {raw.socket.cipher()}")
        converses(raw, head)


# A page that came over https.


def has_the_lab(binary, certificate):
    """The lab page comes over https, and opens wss on the same port; an ECDSA certificate, as today's are."""
    chromium = Chromium()
    try:
        with Heirloom(binary, *certificate.options) as server:
            page = NewPage(chromium)
            page.open(f"https://127.0.0.1:{server.port}/")
            labs.shows_version(page, "rfc6455")
            labs.is_tried(page, "1 MiB", labs.click)
            sockets = [asked for asked in page.requests if asked.startswith("ws")]
            require(sockets, f"it asks for {page.requests}")
            for asked in sockets:
                require(asked.startswith(f"wss://127.0.0.1:{server.port}/"), f"it opens {asked}")
            labs.complains_of_nothing(page, server)
    finally:
        chromium.stop()


# Our own clients, at the TLS of others.


def carries_to_tls(binary, node_modules, browser, name):
    """Chromium to the gateway, over TLS or not, and the gateway over TLS to ws."""
    certificate = certificates.ecdsa()
    options = ["--ca", certificate.path, *certificate.options]
    with Backend(node_modules, certificate) as backend, Gateway(binary, backend.port, *options, scheme="wss") as gateway:
        client = Secure(browser) if name == "wss" else browser
        echoes(client, gateway.port, HELLO, BEYOND_BMP, MIB_TEXT)
        echoes_binary(client, gateway.port)
        with opened(client, gateway.port) as socket:
            socket.text("close 4001 bye")
            expect(socket, "closed", "code 4001 clean true reason bye")
        heard = [backend.line() for _ in range(6)]
        require(b"closed 4001" in b" ".join(heard), f"the backend says {heard}")


def trusts_nobody_else(binary, node_modules):
    """A backend whose certificate is not trusted is not asked at all."""
    with Backend(node_modules, certificates.ecdsa()) as backend:
        with Gateway(binary, backend.port, "--ca", certificates.rsa().path, scheme="wss") as gateway:
            for head, body in ((RFC_6455, b""), (HIXIE_76, BODY_76)):
                with Raw(gateway.port) as raw:
                    raw.ask(head, body=body)
                    answer = raw.rest()
                require(answer.startswith(b"HTTP/1.1 502 "), f"502 was due, the answer is {shortly(answer)}")
                require(b"backend-tls: " in answer, f"the answer is {shortly(answer)}")
                line = (gateway.line() or b"").decode()
                require(" ended=backend-tls " in line, f"the access line is {line!r}")


def dials(binary, library, version):
    """`heirloom connect` with a library's server."""
    certificate = certificates.ecdsa()
    server = library.server({"tls": {"cert": certificate.path, "key": certificate.key, "version": version}})
    argv = [binary, "connect", f"wss://127.0.0.1:{server.port}/", "--ca", certificate.path, "--wait", "0"]
    client = Proc("heirloom connect", argv)
    try:
        for message in (HELLO, BEYOND_BMP, MIB_TEXT):
            client.write(message.encode() + b"\n")
            line = client.line()
            require(line == message.encode(), f"{shortly(message)} was due, {shortly(line)} came{client.talk()}")
        client.end_input()
        code = client.wait()
        require(code == 0, f"heirloom connect exits with {code}{client.talk()}")
    finally:
        client.stop()
        server.stop()


def probes(binary, library, version):
    certificate = certificates.ecdsa()
    server = library.server({"tls": {"cert": certificate.path, "key": certificate.key, "version": version}})
    try:
        url = f"wss://127.0.0.1:{server.port}/"
        code, said = run(binary, "probe", url, "--versions", "rfc6455", "--ca", certificate.path, "--json")
        found = json.loads(said.splitlines()[0])
        require(code == 0 and found["verdict"] == "speaks", f"heirloom probe exits with {code} and says {said!r}")
        require(found["tls"]["version"] == version, f"it finds {found['tls']}")
        code, said = run(binary, "probe", url, "--versions", "rfc6455", "--json")
        require(code == 3 and "`--ca FILE`" in said, f"without --ca it exits with {code} and says {said!r}")
    finally:
        server.stop()


# Two protocols that meet.


def run(*argv):
    """Its exit code, and all that it says."""
    proc = Proc(argv[0], list(argv))
    try:
        proc.end_input()
        code = proc.wait()
        lines = b"\n".join(iter(proc.line, None))
        with open(proc.log.name, "rb") as f:
            return code, (lines + b"\n" + f.read()).decode("utf-8", "replace")
    finally:
        proc.stop()


def curls(port, scheme, code, due):
    argv = ["curl", "--silent", "--show-error", "--include", "--cacert", certificates.rsa().path]
    got, said = run(*argv, f"{scheme}://127.0.0.1:{port}/healthz")
    require(got == code and due in said, f"curl exits with {got} and says {shortly(said)}; {due!r} was due")


def shakes_hands(port, due, *more):
    argv = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", certificates.rsa().path, *more]
    _, said = run(*argv)
    require(due in said, f"openssl s_client says {said[:400]!r}; {due!r} was due")


def curl_meets_tls(binary):
    with Heirloom(binary, *certificates.rsa().options, takes="tls://") as server:
        curls(server.port, "https", 0, "HTTP/1.1 200 ")
        curls(server.port, "http", 0, "plain-on-tls-port: ")
        code, said = run(binary, "connect", f"ws://127.0.0.1:{server.port}/")
        require(code == 4 and "wss://" in said, f"heirloom connect exits with {code} and says {said!r}")


def tls_meets_plain(binary):
    with Heirloom(binary, takes="ws://") as server:
        curls(server.port, "http", 0, "HTTP/1.1 200 ")
        curls(server.port, "https", 35, "SSL")
        shakes_hands(server.port, "error:")
        code, said = run(binary, "connect", f"wss://127.0.0.1:{server.port}/", "--insecure")
        require(code == 3 and "ws://" in said, f"heirloom connect exits with {code} and says {said!r}")
        with Raw(server.port) as raw, open(HELLOS, encoding="utf-8") as f:
            raw.send(bytes.fromhex(json.load(f)["hellos"][0]["hex"]))
            answer = raw.rest()
        require(b"tls-unexpected: " in answer, f"the answer is {shortly(answer)}")


def both_on_one(binary):
    with Heirloom(binary, *certificates.rsa().options) as server:
        curls(server.port, "http", 0, "HTTP/1.1 200 ")
        curls(server.port, "https", 0, "HTTP/1.1 200 ")
        shakes_hands(server.port, "Verify return code: 0 (ok)", "-tls1_3")
        shakes_hands(server.port, "Cipher is ECDHE-RSA-", "-tls1_2")


def old_is_told(binary):
    """Without --tls-legacy a client of 2010 gets an alert, and the log says what it offers and what lets it in."""
    with Heirloom(binary, *certificates.rsa().options) as server:
        shakes_hands(server.port, "alert protocol version", "-tls1", "-cipher", "AES128-SHA:@SECLEVEL=0")
        server.wait_to_say("it offers TLS 1.0, suites TLS_RSA_WITH_AES_128_CBC_SHA")
        server.wait_to_say("`--tls-legacy` lets it in")


# Behind a proxy that passes TLS through.


def passes_through(binary, node_modules, proxy, version, suites):
    """A PROXY header comes before TLS, and both name the client."""
    options = ["--accept-proxy", "127.0.0.1", "--tls-legacy", *certificates.rsa().options]
    tls = certificates.rsa().client(version, suites)
    with Backend(node_modules) as backend, Gateway(binary, backend.port, *options) as gateway:
        with proxy(gateway.port) as before, Raw(before.port, CLIENT, tls) as raw:
            require(raw.socket.version() == version.replace("_", "."), f"it is {raw.socket.version()}")
            raw.ask(HIXIE_76, "/a", body=BODY_76)
            location = header(raw.head(), "Sec-WebSocket-Location")
            require(location == f"wss://{raw.host}/a", f"the location is {location}")
            require(raw.octets(16) == DIGEST_76, "the proof is wrong")
            told = backend_head(raw)["headers"]
        require(told["x-forwarded-for"] == CLIENT, f"X-Forwarded-For is {told['x-forwarded-for']}")
        require(told["x-forwarded-proto"] == "https", f"X-Forwarded-Proto is {told['x-forwarded-proto']}")
        line = (gateway.line() or b"").decode()
        for due in (f" client={CLIENT}:", f" tls={version.replace('_', '.')}/"):
            require(due in line, f"the access line has no {due!r}: {line!r}")


# Behind a proxy that ends TLS.

NGINX_ENDS_TLS = """stream {{
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {pem};
        ssl_certificate_key {pem};
        ssl_protocols TLSv1 TLSv1.3;
        ssl_ciphers DEFAULT:@SECLEVEL=0;
        proxy_pass 127.0.0.1:{gateway};
        proxy_protocol on;
        proxy_half_close on;
    }}
}}
"""


def haproxy_ends(debian, gateway, port):
    """It says in its PROXY header that the client uses TLS."""
    replaced = {":8443": f":{port}", ":8076": f":{gateway}", "/etc/haproxy/heirloom.pem": certificates.rsa().pem}
    return debian.haproxy_with(settings("haproxy-tls.cfg", {**replaced, "send-proxy-v2": "send-proxy-v2-ssl"}), port)


def nginx_ends(debian, gateway, port):
    return debian.nginx_with(written(NGINX_ENDS_TLS.format(port=port, gateway=gateway, pem=certificates.rsa().pem)), port)


def is_served_behind(binary, debian, proxy, says_url):
    """Over TLS 1.0 and 1.3. The location is of wss: by the PROXY header, or by --public-url."""
    port = free_port()
    url = ["--public-url", f"wss://panel.example:{port}"] if says_url else []
    with Heirloom(binary, "--accept-proxy", "127.0.0.1", *url) as server, proxy(debian, server.port, port):
        for version, suites in (("TLSv1", "AES128-SHA:@SECLEVEL=0"), ("TLSv1_3", None)):
            with Raw(port, CLIENT, certificates.rsa().client(version, suites)) as raw:
                require(raw.socket.version() == version.replace("_", "."), f"it is {raw.socket.version()}")
                converses(raw, HIXIE_76)


# One port for all.


def plainly(port, head):
    with Raw(port) as raw:
        if head is RFC_6455:
            raw.ask(RFC_6455)
            raw.head()
            raw.send(b"\x81\x82\0\0\0\0hi")
            answer = raw.octets(4)
            require(answer == b"\x81\x02hi", f"the echo is {answer.hex()}")
        else:
            converses(raw, head, "ws")


def asks_for_policy(port):
    with Raw(port) as raw:
        raw.send(POLICY)
        answer = raw.rest()
    require(answer.endswith(b"</cross-domain-policy>\0"), f"the answer is {shortly(answer)}")
    require(f'to-ports="{port}"'.encode() in answer, f"the answer is {shortly(answer)}")


def in_one_second(binary, subcommand, old, new, node_modules):
    """All begin together, and all are served when a second is over."""
    options = ["--tls-legacy", "--flash-policy", "--versions", "all", *certificates.rsa().options]
    with Backend(node_modules) as backend:
        to = ["--to", f"ws://127.0.0.1:{backend.port}/"] if subcommand == "gateway" else []
        with Heirloom(binary, *to, *options, subcommand=subcommand) as server:
            port = server.port
            clients = {
                "Chromium over TLS 1.3": lambda: connects(new, port, "TLS 1.3"),
                "PhantomJS over TLS 1.0": lambda: connects(old, port, "TLS 1.0"),
                "hixie-76 over TLS 1.0": lambda: speaks_old(port, *OLD[0], HIXIE_76),
                "hixie-75 over TLS 1.1": lambda: speaks_old(port, *OLD[2], HIXIE_75),
                "plain hixie-76": lambda: plainly(port, HIXIE_76),
                "plain RFC 6455": lambda: plainly(port, RFC_6455),
                "a Flash player": lambda: asks_for_policy(port),
            }
            start, done, wrong = threading.Barrier(len(clients) + 1), {}, {}

            def serve(name, ask):
                start.wait(PATIENCE)
                try:
                    ask()
                except Exception as e:
                    wrong[name] = e
                done[name] = time.monotonic()

            threads = [threading.Thread(target=serve, args=one, daemon=True) for one in clients.items()]
            for thread in threads:
                thread.start()
            start.wait(PATIENCE)
            began = time.monotonic()
            for thread in threads:
                thread.join(2 * PATIENCE)
            require(not wrong, f"{wrong}")
            late = {name: f"{at - began:.2f} s" for name, at in done.items() if at - began > 1}
            require(len(done) == len(clients) and not late, f"late: {late}, of {list(done)}")


def check_tls(report, binaries, engines, pages, tools, libraries):
    """`engines` are PhantomJS 1.9 and Chromium with their titles; `binaries` the program, and that with legacy-tls."""
    binary, legacy = binaries
    (old_title, old), (new_title, new) = engines
    debian_folder, node_modules = tools
    debian, old, new = Debian(debian_folder), Secure(old), Secure(new)
    certificate = certificates.rsa()
    phantomjs2, *folders, titles = libraries
    scripts = (("node", "deflate.js"), (sys.executable, "deflate.py"))
    peers = [Library(title, *script, folder) for title, script, folder in zip(titles, scripts, folders)]
    tls = {"ca": certificate.path}
    clients = [(new_title, new, "rfc6455", "TLS 1.3", True, "code 1000 clean true")]
    for version in ("TLSv1.3", "TLSv1.2"):
        for peer in peers:
            client = peer.client({"tls": {**tls, "version": version}})
            clients.append((peer.title, client, "rfc6455", version.replace("v", " "), True, "code 1000"))
    title = "PhantomJS 2.1.1"
    try:
        browser = browsers.phantomjs2(pages, phantomjs2)
    except Failure as e:
        report.hold(f"{title} over TLS", require, False, e)
    else:
        clients.append((title, Secure(browser), "rfc6455", "TLS 1.2", True, "code 1000 clean true"))
    with Backend(node_modules) as backend:
        for program, options, found in (
            (binary, [], clients),
            (legacy, ["--tls-legacy", "--versions", "all"], [(old_title, old, "hixie-76", "TLS 1.0", False, None)]),
        ):
            options = [*options, *certificate.options]
            with Heirloom(program, *options) as server:
                for peer, client, version, spoken, *how in found:
                    check_client(report, peer, client, version, spoken, "serve", server.port, *how)
                if "--tls-legacy" in options:
                    what = "PhantomJS 1.9.8 sends the ClientHello of tests/tls/hellos.json"
                    report.hold(what, sends_its_hello, old, server.port, "phantomjs-1.9.8")
                    for version, suite in OLD:
                        for name, head in (("hixie-75", HIXIE_75), ("hixie-76", HIXIE_76)):
                            what = f"serve, --tls-legacy: {name} over {version} with {suite}"
                            report.hold(what, speaks_old, server.port, version, suite, head)
            with Gateway(program, backend.port, *options) as gateway:
                for peer, client, version, spoken, *how in found:
                    check_client(report, peer, client, version, spoken, "gateway", gateway.port, *how)
    browser.proc.stop()
    for name, proxy in (("HAProxy", debian.haproxy), ("nginx", debian.nginx_stream)):
        for version, suites in (("TLSv1_3", None), ("TLSv1", "AES128-SHA:@SECLEVEL=0")):
            what = f"gateway: {name} passes {version} through, with a PROXY header"
            report.hold(what, passes_through, legacy, node_modules, proxy, version, suites)
    for name, proxy, says_url in (("HAProxy", haproxy_ends, False), ("nginx", nginx_ends, True)):
        what = f"serve: {name} ends TLS 1.0 and 1.3 before it, and the location is of wss"
        report.hold(what, is_served_behind, binary, debian, proxy, says_url)
    what = "serve: the lab page comes over https in Chromium, and opens wss on the same port"
    report.hold(what, has_the_lab, binary, certificates.ecdsa())
    for name in ("ws", "wss"):
        what = f"gateway: {new_title} by {name}, and the gateway by wss to ws for Node.js"
        report.hold(what, carries_to_tls, binary, node_modules, new.browser, name)
    report.hold("gateway: a backend that is not trusted is 502", trusts_nobody_else, binary, node_modules)
    for peer in peers:
        for version in ("TLSv1.3", "TLSv1.2"):
            what = f"{peer.title} as a server over {version}: heirloom "
            report.hold(what + "connect gets its messages back", dials, binary, peer, version)
            report.hold(what + "probe tells of it", probes, binary, peer, version)
    report.hold("serve: plain HTTP at a port for TLS", curl_meets_tls, binary)
    report.hold("serve: TLS at a port for plain connections", tls_meets_plain, binary)
    report.hold("serve: curl and openssl, plain and over TLS, at one port", both_on_one, binary)
    report.hold("serve: a client of 2010 is told that it is too old, and so is the log", old_is_told, binary)
    for subcommand in ("serve", "gateway"):
        what = f"{subcommand}: one port, one second, TLS 1.3, TLS 1.0, plain hixie-76, plain RFC 6455 and Flash"
        report.hold(what, in_one_second, legacy, subcommand, old, new, node_modules)
