"""Room for a run: a shortage names what is needed, what is there and what to type; the soft limit is raised by us."""

import dataclasses
import json
import resource
import subprocess
import sys

import pytest

from harness.engine import headroom
from harness.engine.headroom import Room
from harness.model.errors import GeneratorError
from harness.model.needs import Needs

pytestmark = pytest.mark.unit

AMPLE = Room(
    calls=50_000,
    descriptors=1 << 20,
    ports=28_232,
    receive_buffer_bytes=4 << 20,
    memory_mib=16_000,
    held_packets=65_536,
)


def room(**less):
    return dataclasses.replace(AMPLE, **less)


def needs(calls=1000, is_certain=True, **said):
    return Needs(calls=calls, is_certain=is_certain, **said)


def test_ample_room_has_no_shortage():
    assert headroom.check(needs(), AMPLE) == []
    assert headroom.check(needs(2000, transport="rtp", source_ports="shared"), AMPLE) == []


@pytest.mark.parametrize(
    ("asked", "there", "words"),
    [
        (
            needs(source_ports="per_call"),
            room(descriptors=1007),
            ["1000 calls at once need at least 1,008 open files", "there are 1,007", "ulimit -Hn 2256"],
        ),
        (
            needs(20_000, transport="rtp", source_ports="per_call"),
            room(ports=10_000),
            ["20,000 local ports", "10,000 free", "sysctl -w net.ipv4.ip_local_port_r", "target.source_ports: shared"],
        ),
    ],
)
def test_a_certain_shortage_of_descriptors_or_ports_ends_the_run(asked, there, words):
    with pytest.raises(GeneratorError) as refused:
        headroom.check(asked, there)
    assert all(word in str(refused.value) for word in words), refused.value
    # Estimated, it is a warning that says so.
    (warning,) = headroom.check(dataclasses.replace(asked, is_certain=False), there)
    assert warning.startswith(f"about {asked.calls} calls at once need ")
    assert "need about " in warning or "need up to about 2,256 open files" in warning
    assert all(word in warning for word in words[1:]), warning


@pytest.mark.parametrize(
    ("asked", "there", "words"),
    [
        (
            needs(2000, transport="rtp", source_ports="shared"),
            room(receive_buffer_bytes=212_992),
            ["2,560,000 bytes of socket buffer", "212,992", "net.core.rmem_max=2560000", "source_ports: per_call"],
        ),
        (needs(), room(memory_mib=500), ["640 MiB of memory", "500 available"]),
        (needs(held_packets=70_000), AMPLE, ["70,000 places for delayed packets", "65,536", "lower the impairments"]),
    ],
)
def test_what_may_do_is_warned_of(asked, there, words):
    (warning,) = headroom.check(asked, there)
    assert all(word in warning for word in words), warning


def test_an_estimate_of_what_a_call_takes_refuses_no_run():
    # The base is an estimate: with 200 descriptors 38 calls at once may well do.
    (warning,) = headroom.check(needs(38, source_ports="per_call"), room(descriptors=200))
    assert "38 calls at once need up to 332 open files, and there are 200" in warning
    (warning,) = headroom.check(needs(1000, source_ports="per_call"), room(descriptors=1008))
    assert "up to 2,256" in warning


def test_more_calls_than_a_media_loop_holds_end_the_run_whatever_their_ports():
    with pytest.raises(GeneratorError, match=r"1000 calls at once need 1,000 places .* there are 256: add workers"):
        headroom.check(needs(), room(calls=256))


def test_a_shortage_that_shows_only_once_the_target_has_answered_is_warned_of():
    (warning,) = headroom.check(needs(source_ports="auto"), room(descriptors=1024))
    assert "1000 calls at once need up to 2,256 open files" in warning


def test_shared_ports_need_neither_descriptors_nor_ports_for_each_call():
    asked = needs(3000, transport="rtp", source_ports="shared")
    assert headroom.check(asked, room(descriptors=300, ports=10)) == []


def test_what_cannot_be_known_is_no_shortage():
    assert headroom.check(needs(), room(ports=None, memory_mib=None)) == []


def test_the_room_of_this_machine_is_what_the_kernel_says():
    here = headroom.room_here(256)
    assert here.calls == 256
    assert here.descriptors == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert 0 < here.ports < 65_536
    assert here.receive_buffer_bytes >= 2048
    assert here.memory_mib > 0


def test_the_soft_limit_is_raised_to_the_hard_one_and_no_further():
    code = (
        "import json, resource as r; from harness.engine.headroom import raise_descriptor_limit as up;"
        "r.setrlimit(r.RLIMIT_NOFILE, (400, 900)); print(json.dumps([up(), r.getrlimit(r.RLIMIT_NOFILE)]))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(told.stdout) == [900, [900, 900]]


def test_media_streams_take_a_descriptor_and_a_port_each_and_share_no_buffer():
    asked = needs(20_000, transport="media_stream")
    with pytest.raises(GeneratorError) as caught:
        headroom.check(asked, room(ports=10_000, descriptors=100_000, memory_mib=10**6, calls=10**6))
    assert "20,000 local ports" in str(caught.value)
    assert "source_ports" not in str(caught.value)
    streams, calls = needs(2000, transport="media_stream"), needs(2000, source_ports="shared")
    assert headroom.check(streams, room(receive_buffer_bytes=0)) == []
    assert headroom.check(calls, room(receive_buffer_bytes=0)) != []


def test_calls_without_audio_take_no_place_and_no_port():
    many = needs(20_000, transport="sip", audio=False)
    assert headroom.check(many, room(calls=100, descriptors=1_000, ports=10, memory_mib=100_000)) == []
    assert headroom.shortages(dataclasses.replace(many, audio=True), room(calls=100))[0].there == 100
