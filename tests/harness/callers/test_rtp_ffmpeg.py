"""A foreign end understands our SDP and our SRTP: FFmpeg reads the description, takes the key from it and decodes."""

import asyncio
import re
import socket

import av
import numpy as np
import pytest
from rtp_agent import RtpAgent
from rtp_bench import Bench, utterance

from harness.callers.audio_leg import format_of
from harness.media.codecs import CODECS, G722, OPUS, PCMA, PCMU
from harness.media.events import SpeechEnded
from harness.protocols import audio_sdp

pytestmark = pytest.mark.loopback

# What FFmpeg's SDP reader knows (libavformat/srtp.c).
CM_80, CM_32 = "AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32"


def free_port_pair():
    """Return an even UDP port whose odd neighbour is free, too: FFmpeg wants both."""
    while True:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as even,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as odd,
        ):
            even.bind(("127.0.0.1", 0))
            port = even.getsockname()[1]
            if port % 2 == 0:
                try:
                    odd.bind(("127.0.0.1", port + 1))
                except OSError:
                    continue
                return port


def heard_by_ffmpeg(path, seconds):
    """Return what FFmpeg decodes in about `seconds`, float samples of -1 to 1."""
    options = {"protocol_whitelist": "file,udp,rtp,srtp"}
    heard, rate = [], 1
    with av.open(str(path), format="sdp", options=options, timeout=20) as container:
        for frame in container.decode(audio=0):
            # The first channel: G.711 and G.722 have one, of Opus's two one is as good as the other.
            samples, rate = frame.to_ndarray()[0], frame.sample_rate
            heard.append(samples / 32768 if samples.dtype == np.int16 else samples)
            if sum(map(len, heard)) > seconds * rate:
                break
    return np.concatenate(heard).astype(float), rate


def likeness(spoken, heard):
    """Return the best correlation of `spoken` with a stretch of `heard` as long."""
    spoken = spoken / np.linalg.norm(spoken)
    energy = np.sqrt(np.convolve(heard**2, np.ones(len(spoken)), "valid"))
    return float(np.max(np.correlate(heard, spoken, "valid") / np.maximum(energy, 1e-9)))


@pytest.mark.parametrize(
    ("codec", "suite"), [(PCMU, None), (PCMA, CM_80), (G722, CM_32), (OPUS, CM_80)], ids=lambda v: getattr(v, "name", v)
)
def test_ffmpeg_hears_what_we_say(codec, suite, tmp_path):
    port = free_port_pair()

    async def main():
        async with Bench() as bench, RtpAgent([format_of(c) for c in CODECS]) as agent:
            agent.edit = lambda text: re.sub(r"m=audio \d+", f"m=audio {port}", text)
            srtp = {"srtp": "required", "srtp_suites": (suite,)} if suite else {}
            caller, events = await bench.connect(agent.url, codec=codec.name, **srtp)
            # The caller's own offer with the address at which FFmpeg listens: its key opens what the caller sends.
            text = re.sub(r"m=audio \d+", f"m=audio {port}", audio_sdp.build(agent.offers[0]))
            (tmp_path / "call.sdp").write_text(text)
            hearing = asyncio.get_running_loop().run_in_executor(None, heard_by_ffmpeg, tmp_path / "call.sdp", 3)
            clip = utterance(codec)
            while not hearing.done():
                caller.media.play(clip)
                while not hearing.done() and not isinstance(await asyncio.wait_for(events.get(), 20), SpeechEnded):
                    pass
            heard, rate = await hearing
            assert rate == codec.sample_rate
            assert likeness(clip.read_samples().astype(float), heard) > (0.7 if codec is OPUS else 0.97)

    asyncio.run(main())
