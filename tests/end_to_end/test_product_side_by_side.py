"""One scenario over WebRTC and over SIP into one report: both rows filled, and the known difference between them found.

The agent is the bundled stack's own two front doors with scripted stages; its phone answers 300 ms later.
"""

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from product import ENVIRONMENT, Run, scenario

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(240)]

# Longer than any pause within an utterance of the corpus, or the agent would cut in.
WEB_QUIET_MS, PHONE_QUIET_MS = 900, 1_200
CALLS = 6


@contextlib.contextmanager
def scripted_agent():
    command = [sys.executable, Path(__file__).parent / "scripted_agent.py", str(WEB_QUIET_MS), str(PHONE_QUIET_MS)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.stdout.close()
        assert process.wait(15) == 0


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    plan = scenario(
        "",
        load={"arrivals": {"distribution": "uniform", "rate_per_minute": 240, "calls": 2 * CALLS}},
        turns=1,
        thresholds=[
            "ttfb_ms{target:browser} p50 < 5000",
            "ttfb_ms{target:phone} p50 < 5000",
            "response_ratio{transport:sip} >= 0.9",
            "setup_ms{transport:webrtc} p50 < 15000",
        ],
    )
    del plan["target"]
    # What stands in the file is nobody: the command line says where they are.
    plan["targets"] = {
        "browser": {"url": "http://127.0.0.1:9/api/offer"},
        "phone": {"url": "sip:agent@127.0.0.1:9", "codec": "PCMU"},
    }
    with scripted_agent() as at:
        finished = Run(
            tmp_path_factory.mktemp("side"),
            plan,
            "--target",
            f"browser={at['web']}",
            "--target",
            f"phone={at['phone']}",
        )
        finished.code = finished.end()
    return finished


def test_every_call_was_placed_on_both_and_the_run_passed(run):
    assert run.code == 0, run.text
    calls = sorted(run.rows("calls.jsonl"), key=lambda call: call["index"])
    by_target = {name: [c for c in calls if c["target"] == name] for name in ("browser", "phone")}
    assert [len(part) for part in by_target.values()] == [CALLS, CALLS]
    assert {c["transport"] for c in by_target["browser"]} == {"webrtc"}
    assert {c["transport"] for c in by_target["phone"]} == {"sip"}
    # The k-th of each: the same caller with the same words.
    words = {(t["call_id"]): t["utterance_id"] for t in run.rows("turns.jsonl") if not t["attempt"]}
    told = [[(c["story"], c["persona"], words[c["call_id"]]) for c in part] for part in by_target.values()]
    assert told[0] == told[1]


def test_summary_has_both_rows_and_the_difference(run):
    summary = run.json("summary.json")
    web, phone = (summary["by_target"]["targets"][name] for name in ("browser", "phone"))
    for row in (web, phone):
        assert row["calls"]["connected"] == row["calls"]["completed"] == CALLS
        assert row["ttfb_ms"]["n"] >= CALLS
        assert row["response_ratio"] >= 0.9
        assert row["setup_ms"]["n"] == CALLS
        assert row["packets"]["received"] > 200
        assert row["wer"]["n_words"] > 20
    assert set(web["setup_steps_ms"]) >= {"signalling", "ice", "dtls"}
    assert set(phone["setup_steps_ms"]) >= {"signalling"}
    assert not set(phone["setup_steps_ms"]) & {"ice", "dtls"}
    assert web["sip"] is None
    assert (phone["sip"]["ser"]["ratio"], phone["sip"]["srd_ms"]["n"]) == (1.0, CALLS)
    assert (web["codecs"], phone["codecs"]) == (["opus"], ["PCMU"])
    (difference,) = summary["by_target"]["differences"]
    assert (difference["first"], difference["second"]) == ("browser", "phone")
    assert difference["ms"]["TTFB p50"]["value"] == pytest.approx(PHONE_QUIET_MS - WEB_QUIET_MS, abs=150)
    apart = phone["ttfb_ms"]["p50"] - web["ttfb_ms"]["p50"]
    assert difference["ms"]["TTFB p50"]["value"] == pytest.approx(apart, abs=1)
    assert difference["ms"]["TTFB p50"]["ci95"] is not None
    assert "at least 72 are needed" in difference["ms"]["TTFB p95"]["why"]


def test_every_report_tells_of_both(run):
    page = (run.run_dir / "report.html").read_text()
    assert "<h2>By target</h2>" in page
    assert "phone minus browser" in page
    assert "By target" in run.text
    assert "Set-up" in run.text
    cases = {case.get("name"): case.get("classname") for case in ET.parse(run.run_dir / "junit.xml").iter("testcase")}
    assert cases["ttfb_ms{target:phone} p50 < 5000"] == "callquake.product.phone"
    assert cases["response_ratio{transport:sip} >= 0.9"] == "callquake.product"
    info = run.json("run.json")
    assert list(info["targets"]) == ["browser", "phone"]
    assert info["scenario"]["targets"]["phone"]["url"] == info["targets"]["phone"]["target"]["url"]
