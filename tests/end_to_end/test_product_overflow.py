"""Real callers against emulated stages behind the router: from 80 % on speech overflows, costs more; no call is lost.

The provider that takes what is over is the local stand-in; whose price each minute has is the table's.
"""

import json
import urllib.request
from collections import defaultdict

import pytest
import yaml
from product import Run, scenario, target_stack

from target_stack.emulation.service_times import GUIDE
from target_stack.routing.prices import read_prices

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow, pytest.mark.timeout(240)]

ROUTES = """
throughout: [twilio]
tts:
  own: {capacity: 5}
  others: [{name: flash, url: standin, price: elevenlabs-flash, capacity: 50, standin: {latency_ms: 100}}]
"""
# Below 80 % of five however they fall; and far above.
FEW, MANY = 3, 10


def slow_speech(folder):
    """The guide's figures, but for speech, which takes 4 s a sentence, and as many at once as are asked for."""
    times = yaml.safe_load(GUIDE.read_text())
    level = {"at_once": 64, "base_ms": 4000, "per_unit_ms": 0}
    times["tts"] |= {"slots": 32, "batch": 1, "levels": [level]}
    path = folder / "times.yaml"
    path.write_text(yaml.safe_dump(times | {"name": "slow-speech"}))
    return path


class Result:
    """A run of so many callers, and what the agent said of it."""

    def __init__(self, folder, callers):
        folder.mkdir()
        routes, events = folder / "routes.yaml", folder / "events.jsonl"
        routes.write_text(ROUTES)
        options = ["--profile", "emulated", "--service-times", slow_speech(folder), "--overlap", "off"]
        options += ["--routes", routes, "--events", events, "--max-calls", "32"]
        with target_stack(*map(str, options)) as (origin, _):
            plan = scenario(
                origin.replace("http:", "ws:") + "/twilio",
                # Five turns at least, as thresholds ask for.
                turns=2 if callers < 5 else 1,
                load={"arrivals": {"distribution": "uniform", "rate_per_minute": 600, "calls": callers}},
                limits={"answer_timeout_s": 20, "greeting_timeout_s": 10, "call_timeout_s": 60},
            )
            self.run = Run(folder, plan)
            self.exit_code = self.run.end()
            self.metrics = urllib.request.urlopen(f"{origin}/metrics").read().decode()
        self.events = [json.loads(line) for line in events.read_text().splitlines()]

    def told(self, name):
        return [event for event in self.events if event["event"] == name]

    @property
    def usd_a_minute(self):
        costs = self.told("call_costed")
        return sum(cost["usd"]["total"] for cost in costs) / sum(cost["minutes"] for cost in costs)


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    return Result(tmp_path_factory.mktemp("overflow") / "few", FEW)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    return Result(tmp_path_factory.mktemp("overflow") / "many", MANY)


def prices():
    return {name: price.usd for name, price in read_prices().items()}


def test_below_the_mark_nothing_overflows_and_a_minute_costs_our_own(few):
    assert few.exit_code == 0, few.run.text
    assert {event["provider"] for event in few.told("stage_routed") if event["stage"] == "tts"} == {"self-hosted"}
    table = prices()
    own = sum(table[f"self-hosted-{stage}"] for stage in ("stt", "llm", "tts")) + table["twilio"]
    assert few.usd_a_minute == pytest.approx(own, rel=0.02)


def test_above_it_speech_overflows_and_no_call_is_lost(many):
    assert many.exit_code == 0, many.run.text
    routed = [event for event in many.told("stage_routed") if event["stage"] == "tts"]
    assert {"own", "overflow"} <= {event["reason"] for event in routed}
    assert {event["outcome"] for event in many.run.rows("calls.jsonl")} == {"completed"}
    assert len(many.run.rows("calls.jsonl")) == MANY
    assert {event["outcome"] for event in many.told("turn_finished")} == {"answered"}
    assert "callquake_route_refused_total{" not in many.metrics
    assert many.run.json("run.json")["simulated"][0] == "target: emulated (service times from slow-speech)"
    assert "tts: provider flash is a local stand-in" in many.run.json("run.json")["simulated"]


def test_a_minute_costs_what_its_provider_does(few, many):
    """By the table: our own where it spoke throughout, the other's where that did, in between where both did."""
    assert many.usd_a_minute > few.usd_a_minute * 1.2
    table, spoke = prices(), defaultdict(set)
    own, flash = table["self-hosted-tts"], table["elevenlabs-flash"]
    for event in many.told("stage_routed"):
        if event["stage"] == "tts":
            spoke[event["call_id"]].add(event["provider"])
    for cost in many.told("call_costed"):
        usd = cost["usd"]["tts"] / cost["minutes"]
        by = spoke[cost["call_id"]]
        if by == {"self-hosted"}:
            assert usd == pytest.approx(own, rel=0.02)
        elif by == {"flash"}:
            assert usd == pytest.approx(flash, rel=0.02)
        else:
            assert own * 0.98 < usd < flash * 1.02
    assert {"self-hosted", "flash"} <= set().union(*spoke.values())
