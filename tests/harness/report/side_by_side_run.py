"""Writes a plausible run of one scenario over WebRTC and over SIP, seeded. For tests and to look at reports.

`python tests/harness/report/side_by_side_run.py DIRECTORY [CALLS]` writes one of CALLS a target and its reports.
"""

import json
import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from sample_run import START_NS, _call, _health, _info, write_records

from harness.model.records import CallRecord, MediaStats, SetupTimes, TurnRecord
from harness.model.sip_facts import Bye, SipFacts

ADDRESSES = {"web": "http://127.0.0.1:8080/api/offer", "phone": "sip:agent@127.0.0.1:5060"}
THRESHOLDS = [
    "ttfb_ms{target:web} p50 < 4000",
    "ttfb_ms{target:phone} p50 < 10",
    "setup_ms{transport:sip} p95 < 2000",
    "ttfb_ms{transport:webrtc} p50 < 4000",
    "wer < 0.5",
]


def write_run(directory: Path, calls: int = 10, slower_ms: float = 0.0, seed: int = 7, **info: Any) -> Path:
    """Write a run of `calls` calls to each target; the phone's turns take `slower_ms` longer and have no transcript."""
    directory.mkdir(parents=True, exist_ok=True)
    records, turns = [], []
    for index in range(2 * calls):
        name = ("web", "phone")[index % 2]
        # The k-th calls of both tell one story.
        call, its_turns = _call(random.Random(f"{seed}/{index // 2}"), index // 2 % 12)
        change = _over_sip if name == "phone" else _over_webrtc
        call, its_turns = change(call, its_turns, slower_ms)
        call_id = f"call-{index:06d}"
        records.append(replace(call, call_id=call_id, index=index, target=name, story=index // 2))
        turns += [replace(t, call_id=call_id, target=name, transport=call.transport) for t in its_turns]
    write_records(directory, records, turns, _health(random.Random(seed)))
    (directory / "run.json").write_text(json.dumps(_info_of(seed) | info), encoding="utf-8")
    return directory


def _info_of(seed: int) -> dict[str, Any]:
    targets = {"web": {"transport": "webrtc", "codec": "opus"}, "phone": {"transport": "sip", "codec": "PCMU"}}
    told = {name: {"url": ADDRESSES[name], **kind} for name, kind in targets.items()}
    scenario = {"name": "side_by_side", "thresholds": THRESHOLDS, "targets": told}
    return _info(seed) | {
        "scenario": scenario,
        "target": {"url": " ".join(f"{name}={url}" for name, url in ADDRESSES.items())},
        "target_info": None,
        "targets": {name: {"target": target, "info": None, "calibration": None} for name, target in told.items()},
    }


def _over_webrtc(call: CallRecord, turns: list[TurnRecord], _slower_ms: float) -> tuple[CallRecord, list[TurnRecord]]:
    setup = SetupTimes(queue_ms=1.0, signalling_ms=42.0, ice_ms=61.0, dtls_ms=88.0, total_ms=195.0)
    media = MediaStats(packets_sent=2_000, packets_received=1_990, packets_lost=10, jitter_ms=1.2, round_trip_ms=2.0)
    return replace(call, transport="webrtc", codec="opus", setup=setup, media=media), turns


def _over_sip(call: CallRecord, turns: list[TurnRecord], slower_ms: float) -> tuple[CallRecord, list[TurnRecord]]:
    facts = SipFacts(
        transport="udp",
        call_id=f"{call.call_id}@127.0.0.1",
        status=200,
        request_delay_ms=11.0,
        answer_delay_ms=24.0,
        session_ms=40_000.0,
        bye=Bye.ANSWERED,
        disconnect_delay_ms=3.0,
    )
    setup = SetupTimes(queue_ms=1.0, signalling_ms=24.0, total_ms=26.0)
    changed = [
        replace(
            turn,
            ttfb_ms=None if turn.ttfb_ms is None else turn.ttfb_ms + slower_ms,
            codec="PCMU",
            hypothesis=None,
            transcript_channel=None,
            stages=None,
        )
        for turn in turns
    ]
    return replace(call, transport="sip", codec="PCMU", setup=setup, sip=facts), changed


if __name__ == "__main__":
    from harness.report.finish import finish_run

    assert START_NS
    finish_run(write_run(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 10, 180.0))
