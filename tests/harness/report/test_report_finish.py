"""The end of a run: what is written, what it says, and that it can be read by others."""

import dataclasses
import json
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from run_records import MS, make_call, make_health, make_persona, make_turn
from sample_run import write_records, write_run

from harness.exit_codes import ExitCode
from harness.model.records import Cause, MediaStats, Outcome
from harness.report.finish import finish_run

pytestmark = pytest.mark.unit

EVIL = '<script>alert("x")</script>&\'"'


def test_every_report_is_written_and_the_text_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = finish_run(write_run(tmp_path))
    assert result.exit_code is ExitCode.FAILED
    assert {p.name for p in tmp_path.iterdir()} == {
        "run.json", "calls.jsonl", "turns.jsonl", "health.jsonl",
        "summary.json", "verdict.json", "alerts.jsonl", "junit.xml", "report.html",
    }  # fmt: skip
    text = capsys.readouterr().out
    assert text.startswith("\nFAILED  Smoke")
    assert text.rstrip().endswith(f"Report: {result.report_path}")
    body = text.rsplit("Report:", 1)[0]
    assert max(map(len, body.splitlines())) <= 100
    assert "accent japanese" in body


def test_summary_has_the_agreed_keys(tmp_path: Path) -> None:
    finish_run(write_run(tmp_path), print_report=False)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["schema_version"] == 1
    assert (summary["verdict"], summary["seed"]) == ("FAILED", 7)
    assert summary["target"]["url"] == "http://127.0.0.1:8080/offer"
    assert {"placed", "connected", "completed", "dropped", "by_cause"} <= summary["calls"].keys()
    assert {"n", "response_ratio", "p50", "p95", "p99", "bands"} <= summary["ttfb_ms"].keys()
    assert (summary["ttfb_ms"]["n"], summary["ttfb_ms"]["n_censored"]) == (47, 1)
    assert summary["ttfb_ms"]["is_lower_bound"] == {
        "p50": False, "p95": False, "p99": True, "min": False, "max": True, "mean": True,
    }  # fmt: skip
    for stage in ("endpointing", "stt", "llm", "tts", "playout", "network", "other"):
        assert {"p50", "p95"} <= summary["stages_ms"][stage].keys()
    assert {"n_words", "wer", "ci95", "by_segment", "normaliser"} <= summary["wer"].keys()
    assert {"segment", "value", "n_words", "wer"} <= summary["wer"]["by_segment"][0].keys()
    assert {"n", "ratio", "by_cause"} <= summary["drop_off"].keys()
    assert {"expression", "value", "n", "verdict"} <= summary["thresholds"][0].keys()
    assert {"p50", "p99"} <= summary["generator"]["tick_lateness_ms"].keys()
    assert {"arrival_lateness_ms", "cpu_ratio", "lost_packets", "void_reasons"} <= summary["generator"].keys()


def test_a_report_can_be_made_again_and_is_the_same(tmp_path: Path) -> None:
    finish_run(write_run(tmp_path), print_report=False)
    names = ("summary.json", "verdict.json", "junit.xml", "report.html")
    first = [(tmp_path / name).read_bytes() for name in names]
    finish_run(tmp_path, print_report=False)
    assert first == [(tmp_path / name).read_bytes() for name in names]


def test_junit_is_read_as_ci_reads_it(tmp_path: Path) -> None:
    finish_run(write_run(tmp_path), print_report=False)
    root = ET.parse(tmp_path / "junit.xml").getroot()
    suite = root.find("testsuite")
    assert root.tag == "testsuites"
    assert suite is not None
    cases = {case.get("name"): case for case in suite.findall("testcase")}
    assert suite.get("tests") == str(len(cases)) == "8"
    assert (suite.get("failures"), suite.get("errors"), suite.get("timestamp")) == ("2", "1", "2026-11-22T14:03:12")
    failure = cases["wer < 0.15"].find("failure")
    assert failure is not None
    assert "over 653 words" in str(failure.get("message"))
    assert list(cases["ttfb_ms p95 < 4000"]) == []
    assert cases["ttfb_ms{accent:japanese} p95 < 4000"].find("error") is not None
    assert list(cases["generator kept time"]) == []


def test_junit_is_red_when_nothing_could_be_judged(tmp_path: Path) -> None:
    finish_run(write_run(tmp_path, scenario={"name": "no thresholds"}), print_report=False)
    suite = ET.parse(tmp_path / "junit.xml").getroot()[0]
    assert (suite.get("failures"), suite.get("errors")) == ("0", "1")


class _Page(HTMLParser):
    """Collects tags, links and text; complains of tags that do not nest."""

    VOID = frozenset({"meta", "link", "br", "img", "input", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [str(v) for k, v in attrs if k in {"src", "href", "action", "data", "poster", "srcset"}]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def _page(directory: Path) -> _Page:
    page = _Page()
    page.feed((directory / "report.html").read_text(encoding="utf-8"))
    page.close()
    assert page.open == []
    return page


def test_html_nests_loads_nothing_and_says_what_it_must(tmp_path: Path) -> None:
    finish_run(write_run(tmp_path), print_report=False)
    page = _page(tmp_path)
    assert page.links == ["data:,"]
    assert "script" not in page.tags
    source = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "@import" not in source
    assert "url(" not in source
    for words in ("FAILED", "wer < 0.15: 15.2% over 653 words", "exit code 99", "model of patience", "no answer",
                  "Scale up TTS instances", "whisper-normalizer", "Arjun Nair"):  # fmt: skip
        assert words in page.text


def test_whatever_users_write_is_escaped(tmp_path: Path) -> None:
    (tmp_path / "rec").mkdir()
    (tmp_path / "rec" / "a b.wav").write_bytes(b"RIFF")
    call = make_call("c<0>", Outcome.DROPPED, Cause.AGENT_HUNG_UP, persona=make_persona(EVIL, EVIL), detail=EVIL,
                     recording="rec/a b.wav")  # fmt: skip
    turns = [
        make_turn("c<0>", n, reference=EVIL, accent=EVIL, noise=EVIL, agent_text=EVIL, hypothesis=EVIL * n)
        for n in range(1, 4)
    ]
    write_records(tmp_path, [dataclasses.replace(call)], turns, [make_health(worker=EVIL)])
    info = {"scenario": {"name": EVIL, "thresholds": ["ttfb_ms{accent:<b>} p95 < 800"]}, "notes": [EVIL, "bell \x07"],
            "simulated": [EVIL], "target": {"url": EVIL}, "versions": {EVIL: "1"}, "status": "interrupted"}  # fmt: skip
    (tmp_path / "run.json").write_text(json.dumps(info))
    result = finish_run(tmp_path, print_report=False)
    assert result.exit_code is ExitCode.INTERRUPTED
    page = _page(tmp_path)
    assert "script" not in page.tags
    assert page.text.count(EVIL) >= 8
    assert page.links == ["data:,", "rec/a%20b.wav"]
    ET.parse(tmp_path / "junit.xml")


def test_a_recording_outside_the_run_is_not_linked(tmp_path: Path) -> None:
    (tmp_path / "secret.wav").write_bytes(b"RIFF")
    run_dir = write_run(tmp_path / "run")
    write_records(run_dir, [make_call("c", recording="../secret.wav")], [make_turn("c")], [make_health()])
    finish_run(run_dir, print_report=False)
    assert _page(run_dir).links == ["data:,"]


def test_a_silent_target_without_side_channel_says_not_measured(tmp_path: Path) -> None:
    write_run(tmp_path)
    calls = [make_call(f"c{i}", Outcome.DROPPED, Cause.NO_ANSWER, turns_answered=0) for i in range(5)]
    write_records(tmp_path, calls, [make_turn(f"c{i}", ttfb_ms=None) for i in range(5)], [make_health()])
    result = finish_run(tmp_path, print_report=False)
    assert result.exit_code is ExitCode.FAILED
    assert result.summary["wer"]["wer"] is None
    assert result.summary["stages_ms"]["stt"]["p50"] is None
    assert result.summary["ttfb_ms"]["p50"] == 15_000
    page = _page(tmp_path)
    assert "WER was not measured: the target has no transcript channel." in page.text
    assert "≥ 15,000 ms" in page.text


def test_every_cause_has_an_example_cut_to_the_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path)
    refusals = ["HTTP 503 from http://127.0.0.1:9/offer:\n16 calls are active" + " and more" * 20, "another"]
    calls = [make_call(f"c{i}", Outcome.FAILED, Cause.SIGNALLING_REFUSED, detail=d) for i, d in enumerate(refusals)]
    calls += [make_call("x", Outcome.DROPPED, Cause.NO_ANSWER, detail="turn 2 was said 3 times")]
    calls += [make_call("y", Outcome.DROPPED, Cause.MEDIA_LOST)]
    write_records(tmp_path, calls, [], [make_health()])
    finish_run(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    (at,) = (i for i, line in enumerate(lines) if line.startswith("       signalling refused"))
    assert lines[at + 1].strip().startswith("e.g. HTTP 503 from http://127.0.0.1:9/offer: 16 calls are active and")
    assert lines[at + 1].endswith("…")
    assert len(lines[at + 1]) <= 96
    assert any(" ".join(line.split()) == "no answer 1 e.g. turn 2 was said 3 times" for line in lines)
    assert any(line.split() == ["media", "lost", "1"] for line in lines)


def test_an_empty_run_has_reports_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.json").write_text(
        json.dumps({"status": "target_unreachable", "target": {"url": "http://[::1]:9"}})
    )
    result = finish_run(tmp_path)
    assert result.exit_code is ExitCode.TARGET_UNREACHABLE
    assert "http://[::1]:9" in capsys.readouterr().out
    assert "NO DATA" in _page(tmp_path).text


def test_a_killed_run_says_so(tmp_path: Path) -> None:
    write_run(tmp_path, status="running", ended_at=None)
    path = tmp_path / "calls.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    result = finish_run(tmp_path, print_report=False)
    assert result.exit_code is ExitCode.INTERRUPTED
    notes = "\n".join(result.summary["notes"])
    assert "was killed before it could end" in notes
    assert "Calls with turns but without an end on record: 1." in notes


def test_a_load_generator_that_died_is_named_and_its_calls_that_spoke_are_lost(tmp_path: Path) -> None:
    note = "the load generator (Locust) was killed by signal 9; 3 calls in progress left no record"
    write_run(tmp_path, status="engine_died", notes=[note])
    write_records(tmp_path, [make_call("c0")], [make_turn(f"c{i}") for i in range(3)], [make_health()])
    summary = finish_run(tmp_path, print_report=False).summary
    assert summary["verdict"] == "VOID"
    assert "load generator (Locust) died during the run (calls lost with it that had spoken: 2)" in summary["deciding"]
    assert (summary["calls"]["placed"], summary["calls"]["lost"]) == (3, 2)
    assert summary["notes"][0].startswith("The load generator died;")
    assert not any("engine process" in text for text in [*summary["notes"], *summary["generator"]["void_reasons"]])


@pytest.mark.parametrize(
    ("lost_at_s", "others_end_s", "words"),
    [
        # Two of three at one time; two far apart; the only one; one of two; one, and a call connected afterwards.
        ((40, 42), (60,), "2 calls it held fell silent at 32 s"),
        ((40, 50), (60,), None),
        ((40,), (20,), "1 call it held fell silent at 32 s"),
        ((40,), (38,), None),
        ((40,), (60,), None),
    ],
)
def test_a_target_that_went_away_is_told_by_the_calls_it_held(
    tmp_path: Path, lost_at_s: tuple[int, ...], others_end_s: tuple[int, ...], words: str | None
) -> None:
    write_run(tmp_path, started_monotonic_ns=0)
    heard = MediaStats(packets_sent=500, packets_received=500)
    calls = [
        make_call(f"lost{at}", Outcome.DROPPED, Cause.MEDIA_LOST, ended_at_ns=at * 1_000 * MS, media=heard)
        for at in lost_at_s
    ]
    calls += [make_call(f"other{at}", ended_at_ns=at * 1_000 * MS) for at in others_end_s]
    write_records(tmp_path, calls, [], [make_health()])
    told = [n for n in finish_run(tmp_path, print_report=False).summary["notes"] if n.startswith("The target went")]
    assert told == ([f"The target went away during the run: {words}."] if words else [])


@pytest.mark.parametrize(
    ("media", "words"),
    [
        (MediaStats(500), "The target never answered 2 calls: not one packet of audio came from it."),
        (
            MediaStats(500, impaired_lost_incoming=300),
            (
                "2 calls fell silent behind the incoming impairment put on them (100% loss), which dropped 600 of 600 "
                "packets: that says nothing of the target."
            ),
        ),
    ],
    ids=["never", "impaired"],
)
def test_calls_that_the_target_never_held_are_not_laid_to_its_going_away(
    tmp_path: Path, media: MediaStats, words: str
) -> None:
    write_run(tmp_path, started_monotonic_ns=0)
    bent = {"incoming": "100% loss"} if media.impaired_lost_incoming else {}
    calls = [make_call(name, Outcome.DROPPED, Cause.MEDIA_LOST, media=media, impairments=bent) for name in "ab"]
    write_records(tmp_path, calls, [], [make_health()])
    notes = finish_run(tmp_path, print_report=False).summary["notes"]
    assert words in notes
    assert not any("went away" in note for note in notes)
