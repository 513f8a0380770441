"""rtpengine on loopback, in userspace: what kamailio asks it to put between two parties' media."""

import contextlib
import socket

from foreign import free_port, installed, running

PORTS = 200


@contextlib.contextmanager
def rtpengine(folder):
    """Run it; gives it with its control `port`."""
    program = installed("rtpengine", "rtpengine-daemon")
    port, media = free_port(), free_port(pair=True)
    words = [
        program,
        "--config-file=none",
        "--foreground",
        "--log-stderr",
        "--log-level=6",
        "--delete-delay=0",
        "--table=-1",
    ]
    words += [f"--pidfile={folder}/rtpengine.pid", "--interface=127.0.0.1", f"--listen-ng=127.0.0.1:{port}"]
    words += [f"--port-min={media}", f"--port-max={min(media + PORTS, 65_534)}", "--num-threads=2"]
    with running(words, folder, "rtpengine") as process:
        process.wait_for(lambda: _is_there(port), "answering")
        process.port = port
        yield process


def _is_there(port):
    """Tell whether its control protocol (bencode behind a cookie) answers a ping."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", port))
        sock.settimeout(0.2)
        with contextlib.suppress(OSError):
            sock.send(b"1 d7:command4:pinge")
            return b"pong" in sock.recv(200)
    return False
