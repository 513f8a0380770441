"""A PostgreSQL server of the tests' own on loopback; installed from Debian where that can be done."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from coturn import free_port

USER = "postgres"


def programs():
    """Return the folder of initdb and pg_ctl, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


def install():
    """Skip the test unless there is a PostgreSQL, or root can get one."""
    if programs() is not None:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        pytest.skip("PostgreSQL is not installed, and only root can (apt-get install postgresql)")
    for words in (["update"], ["install", "-y", "--no-install-recommends", "postgresql"]):
        done = subprocess.run(["apt-get", *words], capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            pytest.skip(f"apt-get {words[0]} failed: {done.stderr.strip()[-200:]}")


@contextlib.contextmanager
def running_postgres():
    """Yield (URL, data folder); the server refuses to be root, so it is `postgres` where we are root."""
    install()
    bin_ = programs()
    as_other = {}
    if os.geteuid() == 0:
        entry = pwd.getpwnam(USER)
        as_other = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        data = home / "data"
        data.mkdir(mode=0o700)
        if as_other:
            os.chown(data, as_other["user"], as_other["group"])
            os.chown(home, as_other["user"], as_other["group"])

        def run(*words):
            done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False, cwd=home, **as_other)
            assert done.returncode == 0, done.stdout + done.stderr

        run(str(bin_ / "initdb"), "-D", str(data), "-A", "trust", "-U", USER)
        port = free_port()
        settings = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        run(str(bin_ / "pg_ctl"), "-D", str(data), "-o", settings, "-l", str(home / "log"), "-w", "start")
        try:
            yield f"postgresql://{USER}@127.0.0.1:{port}/postgres", data
        finally:
            run(str(bin_ / "pg_ctl"), "-D", str(data), "-m", "immediate", "-w", "stop")
