"""A stock aiortc server: answers POSTed offers {sdp, type} and sends each caller's audio back. Prints its URL."""

import asyncio

from aiohttp import web
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from harness.media.peer.seam import use_host_addresses

connections = set()


async def offer(request):
    body = await request.json()
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connections.add(pc)

    @pc.on("track")
    def on_track(track):
        pc.addTrack(track)

    await pc.setRemoteDescription(RTCSessionDescription(body["sdp"], body["type"]))
    await pc.setLocalDescription(await pc.createAnswer())
    return web.json_response({"sdp": pc.localDescription.sdp, "type": "answer"})


async def main():
    use_host_addresses(["127.0.0.1"])
    app = web.Application()
    app.router.add_post("/offer", offer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/offer", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
