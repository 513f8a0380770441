"""Plain SDP over HTTP, the reference responder's dialect: POST an offer, the answer comes in the body, DELETE ends it.

The request is `Content-Type: application/sdp`; 200 or 201 brings the answer, and `Location` names the call, which the
caller deletes when it hangs up. It is WHIP's exchange (RFC 9725) for plain RTP.
"""

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import aiohttp

from harness.callers.exhaustion import raise_if_ours
from harness.callers.setup_failure import SetupFailure
from harness.model.plan import TargetSpec
from harness.model.records import Cause
from harness.protocols.audio_sdp import MEDIA_TYPE

_logger = logging.getLogger(__name__)
_SHOWN = 200
_END_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class Answered:
    """The agent's answer; `call_url` is what ends the call, None where the agent named nothing."""

    sdp: str
    call_url: str | None


async def offer(http: aiohttp.ClientSession, target: TargetSpec, sdp: str, call_id: str, timeout_s: float) -> Answered:
    """POST an offer to `target` and return its answer; SetupFailure says what the agent did instead."""
    headers = {"Content-Type": MEDIA_TYPE, "Accept": MEDIA_TYPE, "X-Call-Id": call_id, **target.headers}
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        async with http.post(target.url, data=sdp.encode(), headers=headers, timeout=timeout) as response:
            body = await response.read()
            status, location = response.status, response.headers.get("Location")
    except TimeoutError as error:
        detail = f"no answer from {target.url} within {timeout_s:.0f} s"
        raise SetupFailure(Cause.SIGNALLING_TIMEOUT, detail) from error
    except (aiohttp.ClientError, OSError) as error:
        raise_if_ours(error, f"connecting to {target.url}")
        raise SetupFailure(Cause.SIGNALLING_UNREACHABLE, f"{target.url}: {error}") from error
    text = body.decode(errors="replace")
    if status not in (200, 201):
        shown = text[:_SHOWN].strip()
        raise SetupFailure(Cause.SIGNALLING_REFUSED, f"HTTP {status} from {target.url}: {shown}")
    return Answered(text, None if location is None else urljoin(target.url, location))


async def end(http: aiohttp.ClientSession, target: TargetSpec, call_url: str) -> None:
    """DELETE the call; an agent that does not care to be told is no failure of the call."""
    # What the headers say (a token, say) is the target's alone.
    is_same_origin = urlsplit(call_url)[:2] == urlsplit(target.url)[:2]
    headers = target.headers if is_same_origin else {}
    timeout = aiohttp.ClientTimeout(total=_END_TIMEOUT_S)
    with contextlib.suppress(aiohttp.ClientError, OSError, asyncio.TimeoutError, ValueError):
        async with http.delete(call_url, headers=headers, timeout=timeout) as response:
            if response.status >= 300:
                _logger.debug("DELETE %s: HTTP %d", call_url, response.status)
