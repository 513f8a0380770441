"""SDP over HTTP: POST an offer, get an answer. Two dialects of one exchange: Pipecat's SmallWebRTC and plain JSON."""

import asyncio
from dataclasses import dataclass

import aiohttp

from harness.callers.exhaustion import raise_if_ours
from harness.callers.setup_failure import SetupFailure
from harness.model.clock import monotonic_ns
from harness.model.errors import RemoteProtocolError
from harness.model.plan import TargetSpec
from harness.model.records import Cause
from harness.protocols import small_webrtc

_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Answered:
    """The agent's answer."""

    sdp: str
    pc_id: str | None
    # From the request to the whole answer.
    took_ns: int


async def exchange(
    http: aiohttp.ClientSession, target: TargetSpec, offer_sdp: str, call_id: str, timeout_s: float
) -> Answered:
    """POST the offer to `target` and return its answer; SetupFailure says what the agent did instead."""
    body = small_webrtc.build_offer(small_webrtc.Offer(offer_sdp, request_data={"call_id": call_id}))
    headers = {"Content-Type": "application/json", **target.headers}
    asked_at_ns = monotonic_ns()
    try:
        async with http.post(
            target.url, data=body, headers=headers, timeout=aiohttp.ClientTimeout(total=timeout_s)
        ) as response:
            text = await response.text()
            status = response.status
        answered_at_ns = monotonic_ns()
    except TimeoutError as error:
        detail = f"no answer from {target.url} within {timeout_s:.0f} s"
        raise SetupFailure(Cause.SIGNALLING_TIMEOUT, detail) from error
    except (aiohttp.ClientError, OSError, UnicodeDecodeError) as error:
        raise_if_ours(error, f"connecting to {target.url}")
        raise SetupFailure(Cause.SIGNALLING_UNREACHABLE, f"{target.url}: {error}") from error
    if status >= 300:
        raise SetupFailure(Cause.SIGNALLING_REFUSED, f"HTTP {status} from {target.url}: {text[:_SHOWN].strip()}")
    try:
        answer = small_webrtc.parse_answer(text)
    except RemoteProtocolError as error:
        raise SetupFailure(Cause.SIGNALLING_REFUSED, f"{target.url} answered no SDP: {error}") from error
    return Answered(answer.sdp, answer.pc_id, answered_at_ns - asked_at_ns)


async def close(http: aiohttp.ClientSession) -> None:
    """Close the session and let its transports finish."""
    await http.close()
    await asyncio.sleep(0)
