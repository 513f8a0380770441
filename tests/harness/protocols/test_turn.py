"""The TURN client against a server of aioice's codec, in virtual time: losses, renewals, refusals."""

import pytest
from turn_lab import OTHER_PEER, OURS, PASSWORD, PEER, RELAYED, Method, S, Server, World

from harness.protocols import turn
from harness.protocols.turn import State
from harness.protocols.turn_events import Allocated, Bound, Lost, PeerRefused, Received, Refused, Released

pytestmark = pytest.mark.unit


def allocated(server=None, **options):
    world = World(server, **options)
    world.begin()
    world.run(1)
    assert world.told(Allocated) == [Allocated(RELAYED, OURS)]
    return world


def test_an_allocation_is_asked_for_twice_the_second_time_with_credentials():
    world = allocated()
    assert world.server.counts == {Method.ALLOCATE: 2}
    assert world.client.state is State.ALLOCATED


def test_a_server_that_wants_no_credentials_is_given_none():
    world = allocated(Server(asks_for_credentials=False), username="", credential="")
    world.send(PEER, b"hello")
    world.run(1)
    assert world.echoes() == [b"hello"]


def test_what_is_sent_before_the_channel_is_bound_waits_for_it_and_what_follows_goes_through_it():
    world = allocated()
    world.send(PEER, b"first")
    assert world.client.channel(PEER) is None
    world.run(1)
    world.send(PEER, b"second")
    world.run(1)
    assert world.told(Bound) == [Bound(PEER, 0x4000)]
    assert world.client.channel(PEER) == 0x4000
    assert world.server.delivered == [(PEER, b"first"), (PEER, b"second")]
    assert world.told(Received) == [Received(PEER, b"first"), Received(PEER, b"second")]
    assert Method.SEND not in world.server.counts


def test_a_second_peer_of_a_permitted_host_is_sent_to_by_indication_until_it_has_a_channel():
    world = allocated()
    world.bind(PEER)
    world.run(1)
    world.send(OTHER_PEER, b"at once")
    world.run(1)
    assert world.server.counts[Method.SEND] == 1
    assert world.echoes() == [b"at once"]
    world.send(OTHER_PEER, b"later")
    world.run(1)
    assert world.server.counts[Method.SEND] == 1
    assert world.client.channel(OTHER_PEER) == 0x4001


def test_a_stranger_of_a_permitted_host_is_heard_by_indication():
    world = allocated()
    world.bind(PEER)
    world.run(1)
    world.from_peer(OTHER_PEER, b"check")
    world.run(1)
    assert world.told(Received) == [Received(OTHER_PEER, b"check")]


def _whole_life(fate):
    """Allocate, speak until heard, release."""
    world = World(fate=fate)
    world.begin()
    world.run(3)
    for n in range(4):
        world.send(PEER, b"hello %d" % n)
        world.run(3)
    world.release()
    world.run(turn.RELEASE_LIMIT_NS / S)
    return world


_MESSAGES = _whole_life(lambda _: 1).sent


@pytest.mark.parametrize("times", [0, 2], ids=["lost", "doubled"])
@pytest.mark.parametrize("which", range(_MESSAGES))
def test_any_one_message_may_be_lost_or_doubled(which, times):
    world = _whole_life(lambda n: times if n == which else 1)
    assert len(world.told(Allocated)) == 1
    assert len(world.told(Bound)) == 1
    assert len(world.told(Released)) == 1
    # Datagrams of the peer's are lost as datagrams are, and nothing else is.
    assert {b"hello %d" % n for n in range(4)} - set(world.echoes()) == set() or times == 0
    assert len(set(world.echoes())) >= 3
    assert world.server.allocated_until <= world.now
    assert world.client.state is State.OVER
    assert world.client.next_timer_ns is None


def test_every_third_message_lost_delays_and_breaks_nothing():
    world = World(fate=lambda n: int(n % 3 != 1))
    world.begin()
    world.run(60)
    world.bind(PEER)
    world.run(3600)
    assert not world.told(Lost)
    assert not world.told(PeerRefused)
    assert world.now < world.server.allocated_until
    assert world.now < world.server.permitted_until[PEER[0]]
    assert world.now < world.server.bound_until[0x4000]


@pytest.mark.parametrize("lifetime_s", [600, 30, 3600])
def test_an_hour_s_call_keeps_allocation_permission_and_channel(lifetime_s):
    world = allocated(Server(lifetime_s=lifetime_s))
    world.bind(PEER)
    for n in range(360):
        world.send(PEER, b"%d" % n)
        world.run(10)
    assert world.echoes() == [b"%d" % n for n in range(360)]
    assert world.server.refused_data == 0
    counts = world.server.counts
    assert 3600 / lifetime_s - 1 <= counts.get(Method.REFRESH, 0) <= 2 * 3600 / lifetime_s
    assert 12 <= counts[Method.CREATE_PERMISSION] + counts[Method.CHANNEL_BIND] <= 25
    assert counts[Method.CHANNEL_BIND] <= 8


def test_a_peer_that_was_forgotten_is_renewed_no_more():
    world = allocated()
    world.bind(PEER)
    world.run(1)
    world.client.forget(PEER)
    world.run(3600)
    assert world.server.permitted_until[PEER[0]] < world.now
    assert world.now < world.server.allocated_until
    # And taken up again with the number it had: a server does not rebind it.
    world.bind(PEER)
    world.run(1)
    world.send(PEER, b"back")
    world.run(1)
    assert world.echoes() == [b"back"]


def test_nonces_that_grow_stale_are_renewed():
    world = allocated(Server(nonce_s=100))
    world.bind(PEER)
    for n in range(120):
        world.send(PEER, b"%d" % n)
        world.run(30)
    assert len(world.echoes()) == 120
    assert not world.told(Lost)


def test_a_server_to_which_every_nonce_is_stale_is_given_up():
    world = World(Server(errors={Method.ALLOCATE: [438] * 50}))
    world.begin()
    world.run(1)
    assert world.told(Refused) == [Refused("calls every nonce stale: 438 Stale Nonce")]
    assert world.server.counts[Method.ALLOCATE] < 10


def test_a_wrong_password_is_refused_and_not_tried_again():
    world = World(credential=PASSWORD + "!")
    world.begin()
    world.run(60)
    assert world.told(Refused) == [Refused("refused the credentials: 401 Unauthorized")]
    assert world.server.counts == {Method.ALLOCATE: 2}


def test_missing_credentials_are_named():
    world = World(username="", credential="")
    world.begin()
    world.run(1)
    (refused,) = world.told(Refused)
    assert refused.reason.startswith("asks for credentials, and none are given")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (403, "forbids it: 403 No"),
        (437, "has no such allocation, or another one for our port: 437 No"),
        (440, "does not relay this address family: 440 No"),
        (486, "has given this user all the allocations it may have: 486 No"),
        (508, "has no relay port left: 508 No"),
        (699, "refused: 699 No"),
    ],
)
def test_a_refused_allocation_says_why(code, words):
    world = World(Server(errors={Method.ALLOCATE: [code]}))
    world.begin()
    world.run(1)
    assert world.told(Refused) == [Refused(words)]
    assert world.client.state is State.OVER
    assert world.client.next_timer_ns is None


@pytest.mark.parametrize("code", [403, 486, 508])
def test_a_refused_peer_says_why_and_leaves_the_others(code):
    world = allocated(Server(errors={Method.CHANNEL_BIND: [code]}))
    world.send(PEER, b"lost")
    world.run(1)
    (refused,) = world.told(PeerRefused)
    assert refused.peer == PEER
    assert f": {code} " in refused.reason
    world.send(OTHER_PEER, b"kept")
    world.run(1)
    assert world.echoes() == [b"kept"]


@pytest.mark.parametrize("is_reliable", [False, True])
def test_a_server_that_never_answers_is_asked_for_39_5_s(is_reliable):
    world = World(fate=lambda _: 0, is_reliable=is_reliable)
    world.begin()
    world.run(39.4)
    assert not world.events
    world.run(0.2)
    assert world.told(Refused) == [Refused(turn.NO_ANSWER)]
    # RFC 8489 6.2.1: seven sends over UDP; TCP sends again by itself.
    assert world.sent == (1 if is_reliable else 7)


def test_an_allocation_that_the_server_forgot_is_lost():
    world = allocated()
    world.bind(PEER)
    world.run(100)
    world.server.allocated_until = 0
    world.run(300)
    assert world.told(Lost) == [Lost("has no such allocation, or another one for our port: 437 No")]
    assert world.client.next_timer_ns is None


def test_a_server_that_dies_in_a_call_is_found_out_by_the_next_renewal():
    died = []
    world = World(fate=lambda _: 0 if died else 1)
    world.begin()
    world.run(1)
    world.bind(PEER)
    world.run(1)
    died.append(True)
    world.run(600)
    assert world.told(PeerRefused) == [PeerRefused(PEER, turn.NO_ANSWER)]
    assert world.told(Lost) == [Lost(turn.NO_ANSWER)]


def test_answers_signed_with_another_password_are_not_believed():
    world = World(Server(is_impostor=True))
    world.begin()
    world.run(60)
    (refused,) = world.told(Refused)
    assert refused.reason == "did not answer, or not with our password's signature"
    assert not world.told(Allocated)


def test_an_allocation_granted_after_the_call_was_given_up_is_released():
    world = World()
    world.begin()
    world.release()
    assert not world.told(Released)
    world.run(1)
    assert world.told(Released) == [Released()]
    assert not world.told(Allocated)
    assert world.server.counts == {Method.ALLOCATE: 2, Method.REFRESH: 1}
    assert world.server.allocated_until <= world.now


def test_a_goodbye_that_nobody_answers_ends():
    died = []
    world = World(fate=lambda _: 0 if died else 1)
    world.begin()
    world.run(1)
    died.append(True)
    world.release()
    world.run(turn.RELEASE_LIMIT_NS / S)
    assert world.told(Released) == [Released()]
    assert world.client.next_timer_ns is None


def test_before_anything_was_asked_there_is_nothing_to_release():
    world = World()
    world.release()
    assert (world.events, world.sent) == ([Released()], 0)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x40\x00",
        b"\x40\x00\x00\x09short",
        b"\x40\x7f\x00\x01x",
        b"\x00\x01\x00\x00",
        b"\x80" * 20,
        b"\x01\x03" * 20,
    ],
)
def test_what_is_no_turn_changes_nothing(data):
    world = allocated()
    world.client.receive(data, world.now)
    assert (world.client.outgoing(), world.client.events(), world.client.ignored) == ([], [], 1)
