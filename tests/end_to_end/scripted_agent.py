"""The bundled agent's two front doors, WebRTC and SIP, with scripted stages behind them: a process of its own.

`python scripted_agent.py WEB_QUIET_MS PHONE_QUIET_MS` prints its addresses as a line of JSON and serves until SIGTERM.
Each door's sessions answer so long after the caller fell silent, so that the difference between the two is known.
"""

import asyncio
import json
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "target_stack"))

from edge_peer import READY, Sessions, running_edge

from target_stack.edge.sip_edge import SipEdge
from target_stack.edge.sip_options import SipOptions


async def serve(web_quiet_ms, phone_quiet_ms):
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with running_edge(Sessions(quiet_ms=web_quiet_ms)) as (edge, url):
        phone = SipEdge(
            Sessions(quiet_ms=phone_quiet_ms),
            SipOptions(port=0, trunk_calls=64),
            readiness=lambda: READY,
            names=edge.names,
            streams=edge.streams,
            events_base=lambda _: url.replace("http:", "ws:"),
        )
        addresses = await phone.start()
        try:
            print(json.dumps({"web": f"{url}/api/offer", "phone": addresses.udp}), flush=True)
            await stopped.wait()
        finally:
            await phone.aclose()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1]), float(sys.argv[2])))
