"""What each kind of fault breaks in the test of kill -9: a stand-in on this machine, and how to see that it is whole.

A new kind that outlives its process needs an entry in CASES; test_kill_every_fault.py fails without one. Faults that
the engines of a run carry out die with these and need none.
"""

import contextlib
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.commands.fault_words import example_of
from harness.faults.catalogue import KINDS
from harness.faults.stun_probe import answers
from harness.model.fault import Where

HERE = Path(__file__).parent
SLEEPER = "import time\nwhile True: time.sleep(0.02)"
STUN_SERVER = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
    server.bind(("127.0.0.1", 0))
    print(server.getsockname()[1], flush=True)
    while True:
        data, source = server.recvfrom(2048)
        server.sendto(bytes((1, 1, 0, 0)) + data[4:20], source)
"""
FAKE_TC = """#!/bin/sh
# Keeps a rule as the kernel would: in a file.
case "$*" in
*"qdisc add"*) echo "$*" > "{rule}" ;;
*"qdisc del"*) [ -f "{rule}" ] || {{ echo "Cannot delete qdisc with handle of zero." >&2; exit 2; }}; rm "{rule}" ;;
*) echo " Sent 300 bytes 3 pkt (dropped 1, overlimits 0 requeues 0)" ;;
esac
"""


@dataclass
class Stand:
    """A stand-in: what the fault is told, and everything of it that the fault may break, as it is now."""

    parameters: dict[str, Any]
    state: Callable[[], Any]
    admin: str = ""
    # Put before PATH.
    path: str = ""
    needs_root: bool = field(default=False)


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


class Stands:
    """The stand-ins that several kinds share, begun when first asked for."""

    def __init__(self, folder):
        self.folder = folder
        self._stack = contextlib.ExitStack()
        self._begun = {}

    def close(self):
        self._stack.close()

    def _once(self, name, begin):
        if name not in self._begun:
            self._begun[name] = begin()
        return self._begun[name]

    def _script(self, *words):
        """Run a program that prints one line first and ends with its stdin; return the line."""
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

        def end():
            process.send_signal(signal.SIGCONT)
            process.stdin.close()
            process.terminate()
            process.wait(timeout=30)
            process.stdout.close()

        self._stack.callback(end)
        return process, process.stdout.readline().strip()

    def agent(self):
        """Return the URL of the bundled agent's admin API, and of /state."""
        return self._once("agent", lambda: self._script(sys.executable, str(HERE / "faulty_target.py"))[1])

    def proxy(self):
        """Return the URL of our Toxiproxy, with one proxy `hop` to a server that greets."""

        def begin():
            greeter = self._stack.enter_context(serving(Greeter))
            words = ["-m", "harness.toxiproxy", "--api", "127.0.0.1:0", "--proxy", f"hop=127.0.0.1:0,{greeter}"]
            return self._script(sys.executable, *words)[1].split()[-1]

        return self._once("proxy", begin)

    def front(self):
        """Return the address of what looks like a front with one media server."""
        return self._once("front", lambda: self._stack.enter_context(serving(FrontPage)))

    def switch(self):
        """Return the address of something with a switch."""
        return self._once("switch", lambda: self._stack.enter_context(serving(Switch)))

    def stun(self):
        """Return a process that answers STUN, and its port."""
        process, port = self._once("stun", lambda: self._script(sys.executable, "-c", STUN_SERVER))
        return process, int(port)

    def tc(self):
        """Return a folder with a `tc` that keeps its rule in a file, and that file."""
        folder = self.folder / "bin"
        folder.mkdir(exist_ok=True)
        rule = self.folder / "qdisc"
        (folder / "tc").write_text(FAKE_TC.format(rule=rule))
        (folder / "tc").chmod(0o755)
        return str(folder), rule


class Quiet(http.server.BaseHTTPRequestHandler):
    """Answers JSON and logs nothing. `kept` is the server's."""

    def log_message(self, *_):
        pass

    def answer(self, said, status=200):
        body = json.dumps(said).encode()
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Greeter(Quiet):
    def do_GET(self):
        self.answer({"hello": "there"})


class Switch(Quiet):
    """POST breaks it, DELETE mends it."""

    def do_POST(self):
        self.server.kept["is_broken"] = True
        self.answer({})

    def do_DELETE(self):
        was_broken = self.server.kept.pop("is_broken", False)
        self.answer({}, 200 if was_broken else 404)

    def do_GET(self):
        self.answer(self.server.kept)


# An agent's answer about a fault.
GOOD = {"touched": 3, "what": "requests lost", "counts": {"seen": 4}}


class Scripted(Quiet):
    """An agent that says of faults what `kept` holds by method, else GOOD; remembers what it was asked."""

    def do_POST(self):
        self.scripted()

    def do_DELETE(self):
        self.scripted()

    def scripted(self):
        self.server.kept.setdefault("asked", []).append(self.command)
        said, status, wait_s = self.server.kept.get(self.command, (GOOD, 200, 0))
        time.sleep(wait_s)
        with contextlib.suppress(OSError):
            self.answer(said, status)


class FrontPage(Quiet):
    """A front's orders, for one server that stays down once it is killed so."""

    def do_GET(self):
        kept = self.server.kept
        is_up = kept.get("is_up", True)
        # As target_stack/servers/admin.py tells a server: its calls by kind, and how many in all.
        calls = {"webrtc": 2, "sip": 1}
        server = {"name": "s1", "state": "ready" if is_up else "gone", "calls": calls, "in_use": 3}
        server["pid"] = 1 if is_up else None
        self.answer({"servers": [{**server, "deaths": kept.get("deaths", 0)}]})

    def do_POST(self):
        is_up = self.path.endswith("/start")
        self.server.kept["is_up"] = is_up
        self.server.kept["deaths"] = self.server.kept.get("deaths", 0) + (not is_up)
        self.answer({})


@contextlib.contextmanager
def serving(handler, kept=None):
    """Yield HOST:PORT of a server with this handler, in a thread; `kept`: what the handler finds as its server's."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.kept = {} if kept is None else kept
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


# --- the cases ----------------------------------------------------------------------------------------------------


def of_agent(kind, **parameters):
    """Return a case of a fault that the bundled agent carries out."""

    def case(stands):
        url = stands.agent()
        example = {**example_of(KINDS[kind]), **parameters}
        return contextlib.nullcontext(Stand(example, lambda: get(f"{url}/state"), admin=url))

    return case


def of_proxy(kind):
    """Return a case of a fault at a proxy."""

    def case(stands):
        api = stands.proxy()
        example = {**example_of(KINDS[kind]), "proxy": "hop", "api": api}
        return contextlib.nullcontext(Stand(example, lambda: get(f"{api}/proxies/hop")))

    return case


@contextlib.contextmanager
def sleeper(stands, **parameters):
    process = subprocess.Popen([sys.executable, "-c", SLEEPER])
    mark = stands.folder / "restarted"
    mark.unlink(missing_ok=True)
    if "restart" in parameters:
        parameters["restart"] = f"touch {mark}"
    try:
        yield Stand({"pid": process.pid, **parameters}, lambda: "up" if mark.exists() else state_of(process))
    finally:
        process.kill()
        process.wait()
        mark.unlink(missing_ok=True)


def state_of(process):
    """Return whether a process runs, stands still, or is gone."""
    if process.poll() is not None:
        return "gone"
    letter = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
    return {"T": "still", "t": "still", "Z": "gone"}.get(letter, "up")


def coturn(stands):
    process, port = stands.stun()
    parameters = {"pid": process.pid, "address": f"127.0.0.1:{port}"}
    return contextlib.nullcontext(Stand(parameters, lambda: answers(("127.0.0.1", port), tries=1)))


def media_server(stands):
    front = stands.front()

    def state():
        return get(f"http://{front}/admin/servers")["servers"][0]["state"]

    return contextlib.nullcontext(Stand({"stays_down": True}, state, admin=f"http://{front}"))


def netem(stands):
    folder, rule = stands.tc()
    parameters = {"device": "eth0", "delay_ms": 80.0}
    return contextlib.nullcontext(Stand(parameters, rule.exists, path=folder, needs_root=True))


def hook_command(stands):
    file = stands.folder / "rule"
    return contextlib.nullcontext(Stand({"command": f"touch {file}", "revert": f"rm -f {file}"}, file.exists))


def hook_kubectl(stands):
    file = stands.folder / "replicas"
    script = stands.folder / "kubectl"
    script.write_text('#!/bin/sh\nif [ "$1" = break ]; then touch "$2"; else rm -f "$2"; fi\n')
    script.chmod(0o755)
    parameters = {"kubectl": str(script), "arguments": f"break {file}", "revert": f"mend {file}"}
    return contextlib.nullcontext(Stand(parameters, file.exists))


def hook_http(stands):
    url = f"http://{stands.switch()}/switch"
    return contextlib.nullcontext(Stand({"url": url, "revert_url": url}, lambda: get(url)))


CASES = {
    **{name: of_agent(name) for name, kind in KINDS.items() if kind.where is Where.TARGET},
    **{name: of_proxy(name) for name in KINDS if name.startswith("toxiproxy.")},
    "process.stop": sleeper,
    "process.kill": lambda stands: sleeper(stands, restart=True),
    "coturn.stop": coturn,
    "media_server.kill": media_server,
    "netem.qdisc": netem,
    "hook.command": hook_command,
    "hook.http": hook_http,
    "hook.kubectl": hook_kubectl,
}


def path_with(folder):
    """Return PATH with a folder before it."""
    return os.pathsep.join([folder, os.environ["PATH"]]) if folder else os.environ["PATH"]
