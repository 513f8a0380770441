"""The table that finds a call by its sender, against a dict."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.media import sockaddr
from harness.media.hot import layout
from harness.media.hot.senders import address_key, find_call, forget_call, keep_call, ssrc_key

pytestmark = pytest.mark.unit

CALLS = 8


@pytest.fixture(scope="module")
def media():
    # 32 cells for at most 24 keys here: collisions at every turn.
    return layout.new_media(CALLS, CALLS, 4, 4, -1, -1)


def key_of(port, address):
    name = np.zeros(layout.NAME_BYTES, np.uint8)
    packed = sockaddr.pack(address)
    name[: len(packed)] = np.frombuffer(packed, np.uint8)
    return int(address_key(port, name))


HOSTS = ["127.0.0.1", "127.0.0.2", "10.0.0.1", "255.255.255.255", "::1", "::2", "2001:db8::1", "fe80::1"]
KEYS = [
    *(key_of(port, (host, udp)) for port in (0, 1, 4095) for host in HOSTS for udp in (1, 40_000, 65_535)),
    *(int(ssrc_key(port, ssrc)) for port in (0, 1, 4095) for ssrc in (0, 1, 0xFFFFFFFF)),
]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["keep", "keep", "forget"]), st.integers(0, len(KEYS) - 1)), max_size=80))
def test_it_holds_what_a_dict_holds(media, acts):
    media.keys[:] = 0
    known = {}
    for number, (act, which) in enumerate(acts):
        key = KEYS[which]
        if act == "forget":
            forget_call(media, key)
            known.pop(key, None)
        elif len(known) < 24:
            assert bool(keep_call(media, key, number)) == (key not in known)
            known.setdefault(key, number)
        assert {key: int(find_call(media, key)) for key in KEYS} == {key: known.get(key, -1) for key in KEYS}


def test_keys_are_positive_and_tell_every_sender_from_every_other():
    ports = [0, 1, 4094, 4095, 4096, 8191, 16_000]
    keys = [key_of(port, (host, udp)) for port in ports for host in HOSTS for udp in (0, 1, 255, 256, 65_535)]
    # A source's number that looks like the host and port of an address.
    keys += [int(ssrc_key(port, ssrc)) for port in [*ports, 65_535] for ssrc in (0x7F000001, 0x0A000001, 0, 0xFFFFFFFF)]
    assert min(keys) > 0
    assert len(set(keys)) == len(keys)


def test_neighbouring_ipv6_addresses_and_ports_have_keys_of_their_own():
    addresses = [(f"2001:db8::{a:x}:{b:x}", udp) for a in range(16) for b in range(0, 65_536, 4099) for udp in range(8)]
    assert len({key_of(3, address) for address in addresses}) == len(addresses)


def test_an_ipv4_key_is_that_of_the_sockaddr_whatever_its_padding():
    name = np.frombuffer(sockaddr.pack(("192.0.2.7", 5004)) + b"\xee" * 12, np.uint8).copy()
    assert int(address_key(2, name)) == key_of(2, ("192.0.2.7", 5004))


@pytest.mark.parametrize("address", [("127.0.0.1", 9), ("255.1.2.3", 65_535), ("::1", 1), ("2001:db8::77", 40_000)])
def test_addresses_survive_the_kernels_form(address):
    assert sockaddr.unpack(sockaddr.pack(address)) == address


def test_remote_ids_are_shared_by_equal_ipv4_addresses_only():
    assert sockaddr.remote_id(("127.0.0.1", 5)) == sockaddr.remote_id(("127.0.0.1", 5))
    numbers = {sockaddr.remote_id((host, port)) for host in ("127.0.0.1", "127.0.0.2") for port in (1, 2)}
    assert len(numbers) == 4
    assert sockaddr.remote_id(("::1", 5)) is None
    with pytest.raises(ValueError, match="localhost"):
        sockaddr.pack(("localhost", 5))


def test_forgetting_an_unknown_key_changes_nothing():
    media = layout.new_media(2, 2, 4, 4, -1, -1)
    keep_call(media, 77, 1)
    forget_call(media, 78)
    assert int(find_call(media, 77)) == 1
