"""`python -m harness.engine --fd N`: the engine process, started by the load generator over a socket pair."""

import argparse
import asyncio
import gc
import logging
import signal
import socket
import sys

from harness.engine import wire
from harness.engine.engine import Engine, fault_of
from harness.engine.headroom import raise_descriptor_limit
from harness.media.event_loop import ClosingLoop
from harness.media.priority import raise_priority
from harness.model.errors import CallquakeError


async def _run(descriptor: int) -> int:
    sock = socket.socket(fileno=descriptor)
    reader, writer = await asyncio.open_connection(sock=sock)
    try:
        engine = Engine(reader, writer)
        # Compiled before priority is raised: for half a minute of compiling nobody else must wait.
        engine.compile()
        logging.getLogger(__name__).info("scheduling: %s", raise_priority())
        await engine.serve()
    except CallquakeError as error:
        writer.write(wire.encode("error", message=str(error), fault=fault_of(error)))
        await writer.drain()
        print(f"engine: {error}", file=sys.stderr)
        return 1
    finally:
        writer.close()
    return 0


def main() -> int:
    """Serve the given socket until its other end stops us."""
    parser = argparse.ArgumentParser(prog="python -m harness.engine", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="inherited descriptor of a connected stream socket")
    parser.add_argument("--log-level", default="WARNING", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    options = parser.parse_args()
    logging.basicConfig(level=options.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # Ctrl-C goes to the whole process group; the load generator decides when we stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The media thread must get the GIL at once; and no collection may stop a tick.
    sys.setswitchinterval(0.0005)
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    logging.getLogger(__name__).info("open files: %d", raise_descriptor_limit())
    with asyncio.Runner(loop_factory=ClosingLoop) as runner:
        return runner.run(_run(options.fd))


if __name__ == "__main__":
    sys.exit(main())
