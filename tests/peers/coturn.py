"""coturn from Debian, on ports of its own on loopback, unprivileged; installs it where that can be done."""

import contextlib
import datetime as dt
import ipaddress
import os
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

USER, PASSWORD = "load", "test"
LIMIT_S = 20


def install():
    """Skip the test unless there is a coturn, or root can get one."""
    if shutil.which("turnserver"):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        pytest.skip("coturn is not installed, and only root can (apt-get install coturn)")
    for words in (["update"], ["install", "-y", "--no-install-recommends", "coturn"]):
        done = subprocess.run(["apt-get", *words], capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            pytest.skip(f"apt-get {words[0]} failed: {done.stderr.strip()[-200:]}")


def free_port():
    """Return a port that nobody has, over UDP and TCP."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            udp.bind(("127.0.0.1", 0))
            with contextlib.suppress(OSError):
                tcp.bind(udp.getsockname())
                return udp.getsockname()[1]


def write_certificate(folder, address="127.0.0.1"):
    """Write cert.pem (its own CA) and key.pem for an IP address into `folder`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "coturn of a test")])
    now = dt.datetime.now(dt.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))


@dataclass
class Coturn:
    process: subprocess.Popen
    folder: Path
    port: int
    tls_port: int

    def url(self, transport):
        if transport == "tls":
            return f"turns:127.0.0.1:{self.tls_port}"
        return f"turn:127.0.0.1:{self.port}?transport={transport}"

    @property
    def ca(self):
        return str(self.folder / "cert.pem")

    @property
    def log(self):
        return (self.folder / "log").read_text()

    def logged(self, text, times=1):
        """Wait until the server's log has a text so many times."""
        end = time.monotonic() + LIMIT_S
        while self.log.count(text) < times:
            assert time.monotonic() < end, f"'{text}' is not in the log {times} times:\n{self.log[-3000:]}"
            time.sleep(0.05)


@contextlib.contextmanager
def running_coturn(*options, certified="127.0.0.1"):
    """Run coturn with these lines besides in its configuration."""
    install()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_certificate(folder, certified)
        port, tls_port = free_port(), free_port()
        ports = [] if any(line.startswith("min-port") for line in options) else ["min-port=49160", "max-port=49960"]
        lines = [
            *("listening-ip=127.0.0.1", "relay-ip=127.0.0.1", "lt-cred-mech", f"user={USER}:{PASSWORD}"),
            *("realm=callquake.test", "allow-loopback-peers", "no-cli", "no-dtls", "verbose", "simple-log"),
            *(f"listening-port={port}", f"tls-listening-port={tls_port}", *ports, *options),
            *(f"cert={folder}/cert.pem", f"pkey={folder}/key.pem", f"userdb={folder}/db", f"pidfile={folder}/pid"),
            "log-file=stdout",
        ]
        (folder / "conf").write_text("\n".join(lines) + "\n")
        with (folder / "log").open("w") as log, _started(folder, log) as process:
            server = Coturn(process, folder, port, tls_port)
            _wait_for(server)
            yield server


@contextlib.contextmanager
def _started(folder, log):
    process = subprocess.Popen(
        ["turnserver", "-c", str(folder / "conf")], stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _wait_for(server):
    end = time.monotonic() + LIMIT_S
    for port in (server.port, server.tls_port):
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert server.process.poll() is None, f"coturn ended:\n{server.log[-2000:]}"
            assert time.monotonic() < end, f"coturn does not listen:\n{server.log[-2000:]}"
            time.sleep(0.05)
