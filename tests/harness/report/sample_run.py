"""Writes a plausible run, seeded: 12 calls of five accents to a small agent on a CPU. For tests and to look at reports.

`python tests/harness/report/sample_run.py DIRECTORY` writes one and its reports.
"""

import json
import random
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "measure"))

from run_records import MS, make_call, make_health, make_persona, make_turn

from harness.model.codec import to_json
from harness.model.records import CallRecord, Cause, HealthSample, Outcome, StageTimes, TurnRecord

UTTERANCES = (
    "I would like to move my appointment from Tuesday to Thursday afternoon please",
    "my booking number is four seven two nine one and the name is Okonkwo",
    "could you tell me whether the clinic on Park Street is open this weekend",
    "the heating in our flat stopped working last night and nobody has called back",
    "please send the invoice to my new address at twenty three Harbour Road",
    "what documents should I bring along when I come in for the first time",
    "I have been waiting for a replacement card since the ninth of October",
    "can I speak to someone about the charge of eighty five dollars on my account",
)
# accent, native, chance that a word is misheard
ACCENTS = (
    ("american", True, 0.02),
    ("british", True, 0.035),
    ("indian", False, 0.07),
    ("spanish", False, 0.11),
    ("japanese", False, 0.14),
)
NOISES: tuple[tuple[str, float | None, float], ...] = (
    ("none", None, 1.0),
    ("babble", 15.0, 1.5),
    ("babble", 5.0, 2.6),
    ("traffic", 15.0, 1.2),
    ("traffic", 5.0, 1.9),
)
NAMES = (
    "Maya Lindqvist", "Tom Ashworth", "Priya Raman", "Lucía Ortega", "Kenji Mori", "Grace Bennett",
    "Owen Hughes", "Arjun Nair", "Diego Salas", "Aiko Tanaka", "Ruth Coleman", "Harriet Dunn",
)  # fmt: skip
MISHEARD = ("there", "and", "the", "for", "to")
START_NS = 5_000_000 * MS


def write_run(directory: Path, seed: int = 7, **info: Any) -> Path:
    """Write run.json and the record files into `directory`; `info` overrides fields of run.json."""
    rng = random.Random(seed)
    directory.mkdir(parents=True, exist_ok=True)
    calls, turns = _calls(rng)
    write_records(directory, calls, turns, _health(rng))
    (directory / "run.json").write_text(json.dumps(_info(seed) | info), encoding="utf-8")
    return directory


def write_records(
    directory: Path, calls: list[CallRecord], turns: list[TurnRecord], health: list[HealthSample]
) -> None:
    for name, records in (("calls", calls), ("turns", turns), ("health", health)):
        text = "".join(json.dumps(to_json(record)) + "\n" for record in records)
        (directory / f"{name}.jsonl").write_text(text, encoding="utf-8")


def _info(seed: int) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "run_id": "2026-11-22T14-03-12-smoke",
        "status": "finished",
        "notes": [],
        "scenario": {
            "name": "Smoke: five accents, two noises",
            "thresholds": [
                "ttfb_ms p95 < 4000",
                "response_ratio >= 0.95",
                "wer < 0.15",
                "wer{noise:babble} < 0.12",
                {"expr": "ttfb_ms{accent:japanese} p95 < 4000", "min_samples": 20},
                "drop_off < 0.15",
            ],
        },
        "scenario_path": "scenarios/smoke.yaml",
        "seed": seed,
        "target": {"url": "http://127.0.0.1:8080/offer", "transport": "webrtc"},
        "target_info": {"profile": "cpu", "max_calls": 8},
        "started_at": "2026-11-22T14:03:12+00:00",
        "ended_at": "2026-11-22T14:05:06+00:00",
        "started_monotonic_ns": START_NS,
        "corpus": {"utterances": 24},
        "versions": {"callquake": "0.1.0", "locust": "2.44.4", "aiortc": "1.16.0", "python": "3.11.2"},
        "host": {"cores": 2},
        "argv": ["run", "scenarios/smoke.yaml"],
        "simulated": [],
    }


def _calls(rng: random.Random) -> tuple[list[CallRecord], list[TurnRecord]]:
    calls: list[CallRecord] = []
    turns: list[TurnRecord] = []
    for index in range(12):
        call, its_turns = _call(rng, index)
        calls.append(call)
        turns += its_turns
    return calls, turns


def _call(rng: random.Random, index: int) -> tuple[CallRecord, list[TurnRecord]]:
    call_id = f"call-{index:04d}"
    accent = ACCENTS[index % len(ACCENTS)]
    started = START_NS + int((2 + index * 6.5) * 1000) * MS
    connected = started + int(rng.uniform(260, 420)) * MS
    at = connected + 4_000 * MS
    turns: list[TurnRecord] = []
    # One caller loses patience with a slow agent, in the busiest part of the run.
    leaves_after = 3 if index == 7 else 4
    for number in range(1, leaves_after + 1):
        is_last_straw = index == 7 and number == 3
        turn = _turn(rng, call_id, number, accent, at, index, is_last_straw)
        turns.append(turn)
        at += int(turn.waited_ms + turn.utterance_ms + 4_000) * MS
    outcome, cause = (Outcome.DROPPED, Cause.PATIENCE_DEAD_AIR) if index == 7 else (Outcome.COMPLETED, Cause.NONE)
    call = make_call(
        call_id,
        outcome,
        cause,
        index=index,
        persona=make_persona(NAMES[index], accent[0]),
        due_at_ns=started,
        started_at_ns=started,
        connected_at_ns=connected,
        ended_at_ns=at,
        arrival_lateness_ms=rng.uniform(0.2, 3.0),
        greeting_ms=rng.uniform(600, 1_100),
        turns_planned=4,
        turns_answered=sum(t.ttfb_ms is not None for t in turns),
    )
    return call, turns


def _turn(
    rng: random.Random, call_id: str, number: int, accent: tuple[str, bool, float], at: int, index: int, mute: bool
) -> TurnRecord:
    noise, snr_db, harder = NOISES[(index * 2 + number) % len(NOISES)]
    reference = UTTERANCES[(index * 3 + number) % len(UTTERANCES)]
    load = 1 + 0.5 * max(0, 3 - abs(index - 7)) / 3
    stages = StageTimes(
        endpointing_ms=rng.gauss(330, 20),
        stt_ms=rng.gauss(560, 70) * load,
        llm_ms=rng.gauss(420, 130) * load,
        tts_ms=rng.gauss(640, 90) * load,
        playout_ms=rng.uniform(8, 24),
        source="turn-timing",
    )
    known = sum(getattr(stages, f"{s}_ms") for s in ("endpointing", "stt", "llm", "tts", "playout"))
    network = rng.uniform(0.3, 1.2)
    ttfb = None if mute else known + network + rng.uniform(12, 48)
    utterance_ms = len(reference) * 62.0
    return make_turn(
        call_id,
        number,
        ttfb,
        utterance_id=f"{accent[0]}-{UTTERANCES.index(reference)}-{noise}",
        reference=reference,
        accent=accent[0],
        native=accent[1],
        noise=noise,
        snr_db=snr_db,
        utterance_ms=utterance_ms,
        speech_started_at_ns=at,
        speech_ended_at_ns=at + int(utterance_ms) * MS,
        hypothesis=_misheard(rng, reference, min(0.5, accent[2] * harder)),
        transcript_channel="rtvi",
        agent_text=None if mute else "Of course, I can help you with that.",
        stages=None if mute else stages,
        network_ms=network,
        waited_ms=9_400.0 if mute else ttfb,
    )


def _misheard(rng: random.Random, text: str, chance: float) -> str:
    heard: list[str] = []
    for word in text.split():
        draw = rng.random()
        if draw < chance * 0.65:
            heard.append(rng.choice(MISHEARD))
        elif draw > chance:
            heard.append(word)
        if rng.random() < chance * 0.12:
            heard.append("uh-huh")
    return " ".join(heard)


def _health(rng: random.Random) -> list[HealthSample]:
    return [
        make_health(
            START_NS / MS / 1000 + second,
            tuple(rng.expovariate(1 / 0.35) + (6.5 if rng.random() < 0.004 else 0) for _ in range(50)),
            calls_active=min(5, 1 + second // 12),
            cpu_ratio=rng.uniform(0.12, 0.3),
        )
        for second in range(1, 114)
    ]


if __name__ == "__main__":
    from harness.report.finish import finish_run

    finish_run(write_run(Path(sys.argv[1])))
