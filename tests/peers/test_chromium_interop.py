"""Our WebRTC caller and Chromium as the agent: a page that answers our offer with a tone and hears what we say."""

import asyncio

import numpy as np
import pytest
from aiohttp import web
from chromium_page import RATE, browser, write_wav
from interop_call import PROFILES, assert_good, callers, talk

pytestmark = pytest.mark.end_to_end

PAGE = "<!doctype html><title>agent</title><script>const calls = [];</script>"
# A tone in place of a microphone; the microphone's permission makes Chromium tell its real addresses.
ANSWER = """
const [sdp, done] = arguments;
(async () => {
  await navigator.mediaDevices.getUserMedia({audio: true});
  const context = new AudioContext(), tone = context.createOscillator(), out = context.createMediaStreamDestination();
  await context.resume();
  tone.connect(out);
  tone.start();
  const pc = new RTCPeerConnection();
  calls.push(pc);
  // What nobody plays Chromium does not decode.
  pc.ontrack = event => {
    const player = new Audio();
    player.srcObject = new MediaStream([event.track]);
    player.play();
    pc.player = player;
  };
  await pc.setRemoteDescription({type: "offer", sdp});
  pc.addTrack(out.stream.getAudioTracks()[0], out.stream);
  await pc.setLocalDescription(await pc.createAnswer());
  while (pc.iceGatheringState !== "complete") await new Promise(resolve => setTimeout(resolve, 10));
  return pc.localDescription.sdp;
})().then(done, error => done("failed: " + error));
"""
HEARD = """
const [done] = arguments;
calls.at(-1).getStats().then(stats => done([...stats.values()].filter(s => s.type === "inbound-rtp")[0] || {}));
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chromium")
    wav = folder / "microphone.wav"
    write_wav(wav, np.zeros(RATE, np.int16))
    with browser(folder, wav) as driver:
        driver.set_script_timeout(30)
        yield driver


async def agent(driver):
    """Serve the page, and offers by way of the page; returns (runner, base URL)."""

    def answer(sdp):
        if not driver.current_url.startswith(f"http://127.0.0.1:{port}"):
            driver.get(f"http://127.0.0.1:{port}/")
        return driver.execute_async_script(ANSWER, sdp)

    async def offer(request):
        sdp = await asyncio.to_thread(answer, (await request.json())["sdp"])
        return web.json_response({"sdp": sdp, "type": "answer"})

    async def page(_request):
        return web.Response(text=PAGE, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)
    app.router.add_post("/offer", offer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    return runner, f"http://127.0.0.1:{port}/offer"


@pytest.mark.parametrize("profile", PROFILES)
def test_a_call_talks_and_listens(driver, profile):
    async def scenario():
        runner, url = await agent(driver)
        try:
            async with callers(profile) as ours:
                caller = ours.caller(url)
                try:
                    await ours.connect(caller)
                    seen = await talk(caller)
                    return seen, await asyncio.to_thread(driver.execute_async_script, HEARD)
                finally:
                    await caller.close()
        finally:
            await runner.cleanup()

    seen, heard = asyncio.run(scenario())
    assert_good(seen)
    assert heard["packetsReceived"] > 20
    assert heard["totalAudioEnergy"] > 0.001
