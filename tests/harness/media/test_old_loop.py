import socket
import threading
import time

import pytest

from harness.media import kernel_time
from harness.media.old_loop import MediaLoop

pytestmark = pytest.mark.loopback


class Ticker:
    """A stream that counts; `raise_in` names the method that fails."""

    def __init__(self, raise_in=None):
        self.raise_in = raise_in
        self.ticks = []
        self.rtp = []
        self.rtcp = []
        self.error = None
        self.said_goodbye = False
        self.changed = threading.Event()

    def tick(self, now_ns, unix_ns):
        if self.raise_in == "tick":
            raise ValueError("tick broke")
        self.ticks.append(now_ns)
        self.changed.set()

    def heard(self, arrived_at_ns, drops):
        pass

    def receive_rtp(self, data, arrived_at_ns):
        if self.raise_in == "receive_rtp":
            raise ValueError("receive broke")
        self.rtp.append((data, arrived_at_ns))
        self.changed.set()

    def receive_rtcp(self, data, now_ns, unix_ns):
        self.rtcp.append(data)
        self.changed.set()

    def failed(self, error):
        self.error = error
        self.changed.set()

    def goodbye(self):
        self.said_goodbye = True


@pytest.fixture
def loop():
    running = MediaLoop()
    running.start()
    yield running
    running.stop()
    assert running.failure is None


def udp():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    kernel_time.enable(sock)
    return sock, sock.getsockname()


def wait_until(stream, condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        stream.changed.wait(0.5)
        stream.changed.clear()


def test_each_kind_of_datagram_goes_where_it_belongs_with_the_kernels_time(loop):
    sock, address = udp()
    stream, other = Ticker(), []
    loop.add(stream, sock, lambda data, _address: other.append(data))
    before = time.monotonic_ns()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        for data in (b"\x80\x60rtp", b"\x80\xc8rtcp", b"\x00\x01stun", b"\x16dtls", b""):
            peer.sendto(data, address)
        wait_until(stream, lambda: stream.rtp and stream.rtcp and len(other) == 3)
    assert stream.rtcp == [b"\x80\xc8rtcp"]
    assert other == [b"\x00\x01stun", b"\x16dtls", b""]
    ((data, arrived_at_ns),) = stream.rtp
    assert data == b"\x80\x60rtp"
    assert before - 1_000_000 < arrived_at_ns < time.monotonic_ns() + 1_000_000
    loop.remove(stream).wait(5)
    assert stream.said_goodbye
    assert sock.fileno() == -1


def test_ticks_keep_to_absolute_deadlines(loop):
    stream, (sock, _) = Ticker(), udp()
    loop.add(stream, sock, lambda *_: None)
    wait_until(stream, lambda: len(stream.ticks) >= 50)
    loop.remove(stream).wait(5)
    # Late ticks are made up for: after 50 of them the clock says 49 intervals, whatever each one's lateness was.
    stats = loop.take_stats()
    assert stats.ticks >= 50
    assert stats.tick_lateness_ms.n == stats.ticks
    phases = {(t // 1_000_000) % 20 for t in stream.ticks if stats.tick_lateness_ms.maximum < 1}
    assert len(phases) <= 2


def test_a_loop_that_dies_says_why(caplog):
    class Dying(MediaLoop):
        def _send_due(self):
            raise MemoryError("no more")

    loop = Dying()
    loop.start()
    loop._thread.join(10)
    assert isinstance(loop.failure, MemoryError)
    assert "the media loop died" in caplog.text
    loop.stop()


@pytest.mark.parametrize("where", ["tick", "receive_rtp"])
def test_one_broken_call_does_not_stop_the_others(loop, where):
    broken, healthy = Ticker(where), Ticker()
    (broken_sock, address), (healthy_sock, _) = udp(), udp()
    loop.add(healthy, healthy_sock, lambda *_: None)
    loop.add(broken, broken_sock, lambda *_: None)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.sendto(b"\x80\x60rtp", address)
    wait_until(broken, lambda: broken.error is not None)
    so_far = len(healthy.ticks)
    wait_until(healthy, lambda: len(healthy.ticks) > so_far + 3)
    assert "broke" in str(broken.error)
    assert broken_sock.fileno() == -1
