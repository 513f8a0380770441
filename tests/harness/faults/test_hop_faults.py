"""Proxies, TURN servers and media servers: each fault has its effect, is counted as it is met, and is undone.

`CALLQUAKE_TOXIPROXY=.../toxiproxy-server` has those of proxies done at a Toxiproxy of somebody else's, too.
"""

import contextlib
import errno
import http.client
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from kill_cases import STUN_SERVER, Greeter, Stands, get, serving

from harness.faults import proxy_evidence
from harness.faults.catalogue import KINDS
from harness.faults.check import check_parameters
from harness.faults.effect import Admin, Means
from harness.faults.errors import FaultError
from harness.faults.families import coturn
from harness.faults.http_json import Answer, NoAnswerError, exchange
from harness.faults.injection import Injector
from harness.faults.journal import Journal
from harness.faults.proxy_evidence import Watch, address_of, is_accepted
from harness.faults.stun_probe import answers
from harness.model.fault import Fault

pytestmark = pytest.mark.loopback

FOREIGN = os.environ.get("CALLQUAKE_TOXIPROXY", "")


@pytest.fixture(scope="module")
def stands(tmp_path_factory):
    found = Stands(tmp_path_factory.mktemp("stands"))
    yield found
    found.close()


@contextlib.contextmanager
def foreign_server():
    """Yield the API of the Toxiproxy that CALLQUAKE_TOXIPROXY names, with a proxy `hop`."""
    process = subprocess.Popen(
        [FOREIGN, "-host", "127.0.0.1", "-port", "28474", "-proxy-metrics"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    api = "http://127.0.0.1:28474"
    try:
        with serving(Greeter) as greeter:
            end = time.monotonic() + 20
            while True:
                try:
                    post(f"{api}/proxies", {"name": "hop", "listen": "127.0.0.1:28475", "upstream": greeter})
                    break
                except urllib.error.URLError:
                    assert time.monotonic() < end
                    time.sleep(0.1)
            yield api
    finally:
        process.terminate()
        process.wait(timeout=20)


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


@pytest.fixture(
    scope="module",
    params=["ours", pytest.param("foreign", marks=pytest.mark.skipif(not FOREIGN, reason="no CALLQUAKE_TOXIPROXY"))],
)
def api(request, stands):
    if request.param == "ours":
        yield stands.proxy()
        return
    with foreign_server() as found:
        yield found


def listens(api):
    return "http://" + get(f"{api}/proxies/hop")["listen"]


def through(api, timeout=10):
    """Return what the server behind the proxy says, and how long that took in ms."""
    begun = time.monotonic()
    with urllib.request.urlopen(listens(api), timeout=timeout) as answer:
        said = json.load(answer)
    return said, (time.monotonic() - begun) * 1000


def injector_of(kind, folder, told, admin="", **said):
    parameters, problems = check_parameters(KINDS[kind], said)
    assert not problems, problems
    fault = Fault("broken", kind, KINDS[kind].where, parameters=parameters)
    means = Means(admin=Admin(admin) if admin else None, folder=str(folder))
    return Injector(fault, means, Journal(folder), told.append)


@pytest.fixture
def told():
    return []


@pytest.fixture
def broken(api, tmp_path, told):
    """Inject a fault at the proxy; it is undone at the test's end."""
    begun = []

    def inject(kind, **said):
        begun.append(injector_of(kind, tmp_path, told, api=api, proxy="hop", **said))
        assert begun[-1].start(), told
        return begun[-1]

    yield inject
    for one in begun:
        one.stop()
    assert get(f"{api}/proxies/hop")["toxics"] == []
    assert get(f"{api}/proxies/hop")["enabled"]


def test_what_is_on_this_machine_is_not_asked_for_by_a_proxy(stands, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert exchange("GET", f"{stands.proxy()}/version").is_good
    with pytest.raises(NoAnswerError, match="refused"):
        exchange("GET", "http://agent.invalid/")


def test_latency_is_added_counted_and_taken_out(api, broken):
    one = broken("toxiproxy.latency", latency_ms=300)
    said, took_ms = through(api)
    assert said == {"hello": "there"}
    assert took_ms >= 299
    evidence = one.stop()
    assert evidence.touched > 0
    assert evidence.what == ("bytes that passed meanwhile" if "28474" in api else "connections that met it")
    assert through(api)[0] == {"hello": "there"}


def test_latency_of_nothing_touches_nothing(api, broken):
    one = broken("toxiproxy.latency", latency_ms=0)
    through(api)
    assert one.stop().touched == 0


def test_what_nobody_used_was_not_broken(broken):
    assert broken("toxiproxy.bandwidth", rate_kbytes_s=1).stop().touched == 0


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("toxiproxy.reset_peer", {}),
        ("toxiproxy.timeout", {"timeout_ms": 100}),
        ("toxiproxy.limit_data", {"bytes": 5}),
        ("toxiproxy.down", {}),
    ],
)
def test_what_breaks_a_hop_breaks_it_and_lets_go(kind, said, api, broken):
    one = broken(kind, **said)
    with pytest.raises((OSError, ValueError, http.client.HTTPException)):
        through(api)
    assert one.stop().touched > 0
    assert through(api)[0] == {"hello": "there"}


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("toxiproxy.slicer", {"average_size_bytes": 20, "delay_us": 1_000}),
        ("toxiproxy.slow_close", {"delay_ms": 50}),
        ("toxiproxy.bandwidth", {"rate_kbytes_s": 1}),
    ],
)
def test_what_slows_a_hop_lets_everything_through(kind, said, api, broken):
    one = broken(kind, **said)
    assert through(api)[0] == {"hello": "there"}
    # Toxiproxy itself counts a connection when it has closed.
    assert one.stop().what


def test_a_probe_sees_what_the_server_does_not_count(api, broken):
    one = broken("toxiproxy.latency", latency_ms=400, probe=listens(api))
    assert one.gather().counts["probes_changed"] == 1
    assert one.stop().counts["probes"] == 2


def test_a_probe_that_is_not_answered_before_proves_nothing(api, tmp_path, told):
    one = injector_of(
        "toxiproxy.latency", tmp_path, told, api=api, proxy="hop", latency_ms=1, probe="http://127.0.0.1:9/"
    )
    assert not one.start()
    assert "is not answered before the fault, either" in told[-1].detail
    assert get(f"{api}/proxies/hop")["toxics"] == []


def test_a_wrong_proxy_is_named_with_the_right_ones(api, tmp_path, told):
    with pytest.raises(FaultError, match="has no proxy 'hip'; legal: hop"):
        injector_of("toxiproxy.down", tmp_path, told, api=api, proxy="hip")


def test_a_proxy_that_somebody_else_took_down_stays_theirs(api, tmp_path, told):
    post(f"{api}/proxies/hop", {"enabled": False})
    try:
        with pytest.raises(FaultError, match="is down already, by somebody else"):
            injector_of("toxiproxy.down", tmp_path, told, api=api, proxy="hop")
        assert Journal(tmp_path).entries() == []
    finally:
        post(f"{api}/proxies/hop", {"enabled": True})


def test_a_server_that_counts_nothing_is_told_so(monkeypatch):
    watch = Watch(
        Fault("f", "toxiproxy.latency", KINDS["toxiproxy.latency"].where), "http://x", {"name": "p"}, toxic="t"
    )
    monkeypatch.setattr(watch, "_met", lambda: None)
    watch.begin()
    evidence = watch.look()
    assert evidence.touched == 0
    assert "start Toxiproxy with -proxy-metrics, or give probe" in evidence.detail


METRICS = """\
# TYPE toxiproxy_proxy_received_bytes_total counter
toxiproxy_proxy_received_bytes_total{direction="downstream",proxy="p"} %d
toxiproxy_proxy_received_bytes_total{direction="upstream",proxy="p"} 900000
toxiproxy_proxy_received_bytes_total{direction="downstream",proxy="other"} 900000
# TYPE toxiproxy_proxy_sent_bytes_total counter
toxiproxy_proxy_sent_bytes_total{direction="downstream",proxy="p"} %d
"""


def at_a_foreign_server(monkeypatch, kind, counts, **said):
    """Return what a Toxiproxy that counts so, before and after, proves of a fault; none of it is a probe's own."""
    texts = iter(METRICS % one for one in counts)
    monkeypatch.setattr(proxy_evidence, "exchange", lambda *_: Answer(200, next(texts), None))
    parameters, problems = check_parameters(KINDS[kind], {"proxy": "p", **said})
    assert not problems
    fault = Fault("f", kind, KINDS[kind].where, parameters=parameters)
    watch = Watch(fault, "http://x", {"name": "p"}, toxic="t", probe=lambda _url: 1.0)
    watch.begin()
    return watch.look()


def test_bytes_of_a_share_of_the_connections_are_no_evidence(monkeypatch):
    counts = [(100, 100), (700, 700)]
    found = at_a_foreign_server(monkeypatch, "toxiproxy.latency", counts, latency_ms=50)
    assert (found.touched, found.what) == (600, "bytes that passed meanwhile")
    found = at_a_foreign_server(monkeypatch, "toxiproxy.latency", counts, latency_ms=50, toxicity=0.5)
    assert (found.touched, found.counts) == (0, {"bytes_that_passed_meanwhile": 600.0})
    assert found.detail.endswith("a toxicity of 0.5 takes in; give probe")


def test_bytes_beside_a_probe_that_is_as_fast_as_before_are_no_evidence(monkeypatch):
    said = {"latency_ms": 50, "probe": "http://127.0.0.1:1/"}
    found = at_a_foreign_server(monkeypatch, "toxiproxy.latency", [(100, 100), (700, 700)], **said)
    assert (found.touched, found.what) == (0, "probes changed")


def test_below_its_limit_nothing_was_cut_off(monkeypatch):
    below = at_a_foreign_server(monkeypatch, "toxiproxy.limit_data", [(100, 100), (700, 700)], bytes=10_000)
    above = at_a_foreign_server(monkeypatch, "toxiproxy.limit_data", [(100, 100), (700, 500)], bytes=400)
    assert [(one.touched, one.what) for one in (below, above)] == [
        (0, "bytes that were cut off"),
        (200, "bytes that were cut off"),
    ]


def test_what_was_out_of_reach_before_is_not_down_by_the_fault(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        watch = Watch(Fault("f", "toxiproxy.down", KINDS["toxiproxy.down"].where), "http://x", {"listen": address})
        watch.begin()
        found = watch.look()
    assert found.touched == 0
    assert f"{address} took no connection from here before the fault, either; give probe" in found.detail


def test_our_own_trouble_is_no_refusal(monkeypatch):
    def no_descriptor(*_, **__):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(socket, "create_connection", no_descriptor)
    with pytest.raises(FaultError, match=r"127\.0\.0\.1:1: .*Too many open files"):
        is_accepted(("127.0.0.1", 1))


@pytest.mark.parametrize(
    ("listen", "found"),
    [
        ("127.0.0.1:1", ("127.0.0.1", 1)),
        ("[::]:2", ("10.0.0.1", 2)),
        ("0.0.0.0:3", ("10.0.0.1", 3)),
        (":4", ("10.0.0.1", 4)),
    ],
)
def test_a_proxy_is_reached_where_it_listens(listen, found):
    assert address_of(listen, "http://10.0.0.1:8474") == found


# --- TURN ----------------------------------------------------------------------------------------------------


def test_a_turn_server_stands_still_and_answers_again(stands, tmp_path, told):
    process, port = stands.stun()
    one = injector_of("coturn.stop", tmp_path, told, pid=process.pid, address=f"127.0.0.1:{port}")
    assert one.start(), told
    evidence = one.gather()
    assert (evidence.touched, evidence.what, evidence.counts["stun_requests"]) == (1, "STUN requests unanswered", 1)
    assert one.stop().touched == 2
    assert answers(("127.0.0.1", port))


def test_a_turn_server_that_answered_nobody_is_not_broken(stands, tmp_path, told):
    process, _ = stands.stun()
    one = injector_of("coturn.stop", tmp_path, told, pid=process.pid, address="127.0.0.1:9")
    assert not one.start()
    assert "127.0.0.1:9 answers no STUN before the fault, either" in told[-1].detail
    assert answers(("127.0.0.1", stands.stun()[1]))


def test_a_turn_server_that_does_not_come_back_is_told(tmp_path, told, monkeypatch):
    server = subprocess.Popen([sys.executable, "-c", STUN_SERVER], stdout=subprocess.PIPE, text=True)
    port = int(server.stdout.readline())
    monkeypatch.setattr(coturn, "_TRIES_BACK", 1)
    said = {"address": f"127.0.0.1:{port}", "how": "kill", "restart": "sleep 2"}
    one = injector_of("coturn.stop", tmp_path, told, pid=server.pid, **said)
    assert one.start(), told
    server.communicate()
    one.stop()
    assert told[-1].detail.endswith(f"127.0.0.1:{port} answers no STUN since it was brought back")
    assert len(Journal(tmp_path).entries()) == 1


def test_wrong_words_for_a_turn_server_are_named():
    def problem(**said):
        return check_parameters(KINDS["coturn.stop"], {"pattern": "turnserver", **said})[1][0][1]

    assert problem(address="here") == "address 'here'; legal: HOST:PORT"
    assert problem(restart="true").startswith("restart is for how: kill")
    assert KINDS["coturn.stop"].rule({"address": "a:1", "how": "stop"}).startswith("needs exactly one of")


# --- media servers ----------------------------------------------------------------------------------------------------


def test_the_busiest_media_server_is_killed_and_its_death_counted(stands, tmp_path, told):
    admin = f"http://{stands.front()}"
    one = injector_of("media_server.kill", tmp_path, told, admin=admin, stays_down=True)
    assert one.start(), told
    evidence = one.gather()
    assert (evidence.touched, evidence.counts["deaths"], evidence.counts["calls_it_had"]) == (1, 1, 3)
    assert one.stop().touched == 1
    assert get(f"{admin}/admin/servers")["servers"][0]["state"] == "ready"


def test_a_media_server_that_is_not_there_is_named(stands, tmp_path, told):
    with pytest.raises(FaultError, match="no media server 's9' runs; legal: s1"):
        injector_of("media_server.kill", tmp_path, told, admin=f"http://{stands.front()}", server="s9")
    with pytest.raises(FaultError, match="has no media servers; legal: up --media-servers N"):
        injector_of("media_server.kill", tmp_path, told, admin=stands.agent())
