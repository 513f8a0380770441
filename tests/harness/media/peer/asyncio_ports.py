"""The two things a PeerHost asks of a media loop, on the event loop: ports whose datagrams all come up."""

import asyncio
import contextlib
import socket
import time


class AsyncioPort:
    def __init__(self, host, on_datagram, port):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.bind((host, port))
        self.address = self.sock.getsockname()[:2]
        self.on_datagram = on_datagram
        # Media that came before or beside the set-up, as (data, source).
        self.media = []
        # Called with each outgoing datagram; True = lost on the way.
        self.loses = lambda data: False
        asyncio.get_running_loop().add_reader(self.sock, self._read)

    def send(self, data, to):
        if not self.loses(data):
            with contextlib.suppress(OSError):
                self.sock.sendto(data, to)

    def close(self):
        asyncio.get_running_loop().remove_reader(self.sock)
        self.sock.close()

    def _read(self):
        for _ in range(64):
            try:
                data, source = self.sock.recvfrom(2048)
            except (BlockingIOError, ConnectionRefusedError):
                return
            if 128 <= data[0] < 192:
                self.media.append((data, source[:2]))
            else:
                self.on_datagram(data, source[:2], time.monotonic_ns())


class AsyncioPorts:
    def __init__(self):
        self.ports = []

    def open_port(self, host, on_datagram, *, port=0):
        self.ports.append(AsyncioPort(host, on_datagram, port))
        return self.ports[-1]
