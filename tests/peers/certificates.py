"""Certificates of one day: self-signed, for 127.0.0.1 and localhost."""

import base64
import functools
import hashlib
import os
import shutil
import ssl
import subprocess
import warnings

from asks import require
from procs import PATIENCE, WORK, clean_env

RSA, ECDSA = ["rsa:2048"], ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]


def openssl(*argv, given=None):
    done = subprocess.run(["openssl", *argv], input=given, capture_output=True, env=clean_env(), timeout=PATIENCE)
    require(done.returncode == 0, f"openssl {argv[0]} says {done.stderr[-200:]!r}")
    return done.stdout


class Certificate:
    def __init__(self, name, key):
        self.path, self.key = os.path.join(WORK, f"{name}.crt"), os.path.join(WORK, f"{name}.key")
        names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
        openssl("req", "-x509", "-nodes", "-days", "1", *names, "-newkey", *key, "-keyout", self.key, "-out", self.path)
        public = openssl("pkey", "-pubin", "-outform", "der", given=openssl("x509", "-pubkey", "-noout", "-in", self.path))
        # As Chromium names what it trusts.
        self.spki = base64.b64encode(hashlib.sha256(public).digest()).decode()
        # Both, as HAProxy wants them.
        self.pem = os.path.join(WORK, f"{name}.pem")
        with open(self.pem, "wb") as pem:
            for part in (self.key, self.path):
                with open(part, "rb") as f:
                    pem.write(f.read())
        self.options = ["--tls-cert", self.path, "--tls-key", self.key]

    def client(self, version=None, ciphers=None):
        """What a client in Python trusts, and speaks: a name of ssl.TLSVersion, or all that are on."""
        context = ssl.create_default_context(cafile=self.path)
        # "panel.example" is asked for by Host only.
        context.check_hostname = False
        if ciphers:
            context.set_ciphers(ciphers)
        if version:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Python, of old versions
                context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
        return context


@functools.cache
def rsa():
    """Old clients know no other key."""
    return Certificate("rsa", RSA)


@functools.cache
def ecdsa():
    return Certificate("ecdsa", ECDSA)


@functools.cache
def roots():
    """A folder that stands in place of the system's, for programs that look nowhere else."""
    folder = os.path.join(WORK, "roots")
    os.makedirs(folder)
    shutil.copy(rsa().path, os.path.join(folder, "rsa.pem"))
    openssl("rehash", folder)
    return folder
