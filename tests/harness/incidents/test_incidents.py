"""Files of calls to incidents, incidents to scenarios, runs to incident reports."""

import json
import random
from pathlib import Path

import pytest
import yaml
from sample_run import write_run

from harness.cli import main
from harness.exit_codes import ExitCode
from harness.incidents.calls_file import Columns, parse_length, parse_time, read_calls
from harness.incidents.incident import load_incident
from harness.incidents.prometheus import read_range
from harness.incidents.replay import replayed, scaled, scenario_of
from harness.model.codec import to_json
from harness.model.errors import ScenarioError
from harness.model.fault import Evidence, Fault, FaultEvent, FaultMoment, Where
from harness.scenario.check import prepare

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = sorted((ROOT / "scenarios" / "incidents").glob("*.yaml"))


def csv_of(path: Path, n: int = 5_000) -> list[float]:
    """Write `n` calls of an hour in no order, as Asterisk does; return their times from the first on."""
    rng = random.Random(5)
    times = sorted(round(rng.uniform(0, 3_600), 3) for _ in range(n))
    rows = [
        f"2026-03-02 09:{int(at // 60):02d}:{at % 60:06.3f},{rng.randint(10, 90)},"
        f"{rng.choice(['ANSWERED', 'NO ANSWER'])},{rng.choice(['american', 'british', 'sales'])}"
        for at in times
        if at < 3_600
    ]
    rng.shuffle(rows)
    path.write_text("calldate,billsec,disposition,accent\n" + "\n".join(rows) + "\n")
    return [round(at - times[0], 3) for at in times]


def test_a_csv_of_5000_calls_becomes_an_incident_and_a_scenario_at_x1_and_x10(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "cdr.csv", tmp_path / "outage.yaml"
    times = csv_of(source)
    assert main(["incident", "import", str(source), "--out", str(out)]) == ExitCode.PASSED
    assert "5000 calls within" in capsys.readouterr().out
    incident = load_incident(out)
    assert incident.at_s == pytest.approx(times, abs=2e-3)
    assert incident.about.started_at is not None
    for speed in (1.0, 10.0):
        path = tmp_path / f"x{speed:g}.yaml"
        path.write_text(yaml.safe_dump(scenario_of(incident, speed)))
        due_ms = prepare(path).due_ms or []
        assert len(due_ms) == 5_000
        assert max(abs(due / 1000 - at / speed) for due, at in zip(due_ms, times, strict=True)) < 0.003
    callers = {c["name"]: c for c in incident.scenario["callers"]}
    assert callers["british"]["select"] == {"accent": ["british"]}
    assert "select" not in callers["sales"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-03-02T09:00:00Z", 1772442000), ("2026-03-02 09:00:00", 1772442000), ("1772442000", 1772442000),
        ("1772442000000", 1772442000), ("1772442000000000000", 1772442000), ("03/02/2026 09:00:00", 1772442000),
        ("Mon, 02 Mar 2026 09:00:00 +0000", 1772442000), ("2026-03-02T10:00:00+01:00", 1772442000), ("12.5", 12.5),
        ("20260302090000", 1772442000),
    ],
)  # fmt: skip
def test_times_in_every_usual_form(text: str, seconds: float) -> None:
    found = parse_time(text)
    assert found is not None
    assert found[0] == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "nan", "-5", None, True])
def test_what_is_no_time(text: object) -> None:
    assert parse_time(text) is None


def test_json_lines_and_other_delimiters(tmp_path: Path) -> None:
    lines = tmp_path / "calls.jsonl"
    lines.write_text('{"start": 5, "status": "completed"}\n\n{"start": 2.5, "status": "busy"}\nnonsense\n')
    calls = read_calls(lines)
    assert (calls.at_s, calls.failed_ratio, calls.began) == ([0.0, 2.5], 0.5, None)
    assert "1 of 3 rows" in calls.notes[0]
    semicolons = tmp_path / "calls.csv"
    semicolons.write_text("who;when\na;10\nb;12\n")
    assert read_calls(semicolons, Columns(time="when")).at_s == [0.0, 2.0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no header line"),
        ("start\n", "no calls"),
        ("a,b\n1,2\n", "--time-column: a, b"),
        ("start\nsoon\nlater\n5\n", "2 of 3 rows have no time"),
        ("start\n0\n200000\n", "a day at most"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "calls.csv"
    path.write_text(text)
    with pytest.raises(ScenarioError) as caught:
        read_calls(path)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("start\n5\nBüro\n".encode("latin-1"), "calls.csv:3: no UTF-8 text; legal: UTF-8"),
        (b'{"start": 5\n{"start": 6\n', "calls.csv:1: no JSON: "),
        (b'start\n5\n"6' + b"x" * 200_000, "calls.csv:3: no CSV: field larger than"),
    ],
)
def test_a_file_in_no_form_that_is_known_is_refused_with_its_line(tmp_path: Path, raw: bytes, words: str) -> None:
    path = tmp_path / "calls.csv"
    path.write_bytes(raw)
    with pytest.raises(ScenarioError) as caught:
        read_calls(path)
    assert words in str(caught.value)


def test_a_spreadsheet_s_utf16_is_read_and_a_torn_line_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_bytes("start;queue\n5;Büro\n7;Büro\n".encode("utf-16"))
    calls = read_calls(path)
    assert (calls.at_s, calls.callers["Büro"]) == ([0.0, 2.0], 2)
    path.write_text('{"start": 5}\n{"start": 6}\n{"sta\n[1]\n')
    (note,) = read_calls(path).notes
    assert "calls.csv:3: no JSON: Unterminated string" in note
    assert "calls.csv:4: no JSON object" in note


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90.0), ("1:30", 90.0), ("00:01:30", 90.0), ("1:30.5", 90.5), ("0", 0.0),
     ("long", None), ("-3", None), ("", None), ("nan", None), ("1:2:3:4", None), ("1:-30", None)],
)  # fmt: skip
def test_lengths_in_every_usual_form(text: str, seconds: float | None) -> None:
    assert parse_length(text) == seconds


def test_a_length_that_cannot_be_read_is_told_and_the_call_kept(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_text("start,billsec\n0,00:01:00\n1,long\n2,\n3,-5\n")
    calls = read_calls(path)
    assert (calls.at_s, calls.durations_s) == ([0.0, 1.0, 2.0, 3.0], [60.0])
    bad = "calls.csv:3: billsec 'long' is no length; calls.csv:5: billsec '-5' is no length"
    assert calls.notes == [f"2 of 4 calls had no length that could be read: {bad}"]


def prometheus_of(*series: list[list[object]], **data: object) -> str:
    result = [{"metric": {}, "values": values} for values in series]
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result, **data}})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"status": "error", "errorType": "bad_data", "error": "parse error"}', "an error: bad_data: parse error"),
        (prometheus_of(), "the query found no series"),
        (prometheus_of([[1, "1"]], resultType="vector"), "data.resultType: got 'vector'; legal: matrix"),
        (prometheus_of(result=[{"value": [1, "1"]}]), "data.result[0].values: missing"),
        (prometheus_of([[1, "1"], [2, "x"]]), "data.result[0].values[1]: got [2, 'x']; legal: [instant, value]"),
        (prometheus_of([[1, "+Inf"], [2, "1"]]), "data.result[0].values[0]: got [1, '+Inf']; legal: finite"),
        (prometheus_of([[1, "1e9"], [60, "1"]]), "calls; legal: 1,000,000 at most; is --rate per_second"),
        (prometheus_of([[1, "1"], [200_000, "1"]]), "a range of 56 hours; legal: a day at most"),
        (prometheus_of([[1, "1"]]), "no series with two samples"),
    ],
)
def test_answers_of_prometheus_that_are_refused(
    tmp_path: Path, text: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "range.json"
    path.write_text(text)
    code = main(["incident", "import", str(path), "--out", str(tmp_path / "out.yaml")])
    assert (code, words in capsys.readouterr().err) == (ExitCode.BAD_SCENARIO, True)


@pytest.mark.parametrize(
    ("text", "option", "words"),
    [
        ("start\n5\n", ("--rate", "counter"), "--rate: "),
        (prometheus_of([[1, "1"], [60, "1"]]), ("--time-column", "start"), "--time-column: "),
        ("start\n5\n", ("--target", "foo"), "--target: got 'foo'; legal: "),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(
    tmp_path: Path, text: str, option: tuple[str, str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "calls.any", tmp_path / "out.yaml"
    path.write_text(text)
    assert main(["incident", "import", str(path), "--out", str(out), *option]) == ExitCode.BAD_SCENARIO
    assert capsys.readouterr().err.startswith(words)
    assert not out.exists()


def test_a_prometheus_range_gives_its_rates_back(tmp_path: Path) -> None:
    values = [[1_000 + 60 * i, str(2.0 if 5 <= i < 10 else 0.5)] for i in range(16)]
    path = tmp_path / "range.json"
    path.write_text(json.dumps({"data": {"resultType": "matrix", "result": [{"metric": {}, "values": values}]}}))
    times = read_range(path, "per_second", 1).at_s
    fast = [at for at in times if 300 <= at < 600]
    assert len(fast) == pytest.approx(600, rel=0.15)
    assert len(times) - len(fast) == pytest.approx(300, rel=0.2)
    counter = [[1_000 + 60 * i, str(30 * i)] for i in range(16)]
    path.write_text(json.dumps({"data": {"result": [{"values": counter}]}}))
    assert len(read_range(path, "counter", 1).at_s) == pytest.approx(450, rel=0.15)


@pytest.mark.parametrize("scale", [0.1, 0.5, 1.0, 1.5, 3.0])
def test_scaling_keeps_the_shape(scale: float) -> None:
    rng = random.Random(2)
    times = sorted([rng.uniform(0, 100) for _ in range(1_000)] + [rng.uniform(40, 60) for _ in range(1_000)])
    found = scaled(times, scale, 1)
    assert len(found) == pytest.approx(2_000 * scale, rel=0.02)
    assert found == sorted(found)
    shares = [sum(40 <= at < 60 for at in of) / len(of) for of in (times, found)]
    assert shares[1] == pytest.approx(shares[0], abs=0.03)


def test_speed_moves_faults_with_the_calls_and_leaves_lengths_of_talk(tmp_path: Path) -> None:
    slow, fast = (scenario_of(load_incident(SHIPPED[-1]), speed) for speed in (1.0, 10.0))
    assert fast["faults"][0]["start_s"] == slow["faults"][0]["start_s"] / 10
    stages = [one["load"]["arrivals"]["stages"][1] for one in (slow, fast)]
    assert (stages[0]["duration_s"], stages[1]["duration_s"]) == (60, 6)
    assert stages[1]["rate_per_minute"] == {"from": 100, "to": 400}
    assert fast["callers"] == slow["callers"]


def test_what_people_noted_stands_among_the_same_calls_at_any_speed() -> None:
    text = SHIPPED[-1].read_text()
    assert replayed(text, 1.0) == text
    slow, fast = (yaml.safe_load(replayed(text, speed)) for speed in (1.0, 10.0))
    at_s = [[moment["at_s"] for moment in one["incident"].pop("timeline")] for one in (slow, fast)]
    assert at_s[0]
    assert at_s[1] == [at / 10 for at in at_s[0]]
    assert fast == slow


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_worked_incidents_are_right(path: Path) -> None:
    assert main(["scenario", "check", str(path)]) == ExitCode.PASSED


def test_four_incidents_ship() -> None:
    assert len(SHIPPED) >= 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("arrivals:", "arivals:"), "arivals"),
        (("severity: P1", "severity: P7"), "incident.severity"),
        (("  name: tts_saturation", "  name: tts\n  load: {}"), "scenario.load"),
    ],
)
def test_incidents_that_are_refused(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(SHIPPED[-1].read_text().replace(*change))
    with pytest.raises(ScenarioError) as caught:
        load_incident(path)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (("severity: P1", "severity: P7"), "severity: P7", "incident.severity: got 'P7'; legal: P1, P2, P3"),
        (("severity: P1", "sverity: P1"), "sverity", "incident.sverity: unknown key; legal: title, severity, "),
        (("response_ratio", "respons"), "- respons", "scenario.thresholds[1]: threshold 'respons >= 0.95'"),
        (("rate_per_minute: 10, name: b", "rate: 10, name: b"), "rate: 10", "arrivals.stages[2].rate: unknown key"),
        (("delay_ms: 1500", "delay_ms: -1"), "delay_ms", "scenario.faults[0].parameters.delay_ms: got -1; legal: "),
        (("at_s: 75", "at_s: .inf"), "at_s: .inf", "incident.timeline[0].at_s: got inf; legal: a finite number"),
        (("links: [docs/runbook.md]", "links: ["), "timeline:", "not valid YAML: while parsing a flow"),
    ],
)
def test_what_is_wrong_is_told_with_the_line_of_the_incident(
    tmp_path: Path, change: tuple[str, str], line: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.yaml"
    text = SHIPPED[-1].read_text().replace(*change)
    path.write_text(text)
    assert main(["scenario", "check", str(path)]) == ExitCode.BAD_SCENARIO
    number = next(i for i, one in enumerate(text.splitlines(), 1) if line in one)
    assert f"{path}:{number}: {words}" in capsys.readouterr().err


def test_times_of_calls_beside_the_incident_are_numbers(tmp_path: Path) -> None:
    (tmp_path / "times.csv").write_text("# s\n0.5\nnan\n")
    path = tmp_path / "bad.yaml"
    path.write_text("incident: {title: By file}\narrivals: {file: times.csv}\nscenario: {}\n")
    with pytest.raises(ScenarioError) as caught:
        load_incident(path)
    assert str(caught.value) == f"{tmp_path / 'times.csv'}:3: got 'nan'; legal: seconds, one call a line"


def test_more_calls_than_a_scenario_holds_are_refused_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "times.csv").write_text("\n".join(map(str, range(96_000))))
    path = tmp_path / "large.yaml"
    path.write_text("incident: {title: Large}\narrivals: {file: times.csv}\nscenario: {}\n")
    incident = load_incident(path)
    with pytest.raises(ScenarioError, match=r"96,000 calls; legal: at most 95,000 in one replay, by a smaller --scale"):
        scenario_of(incident)
    assert len(scenario_of(incident, scale=0.5)["load"]["arrivals"]["at_s"]) == pytest.approx(48_000, abs=10)


@pytest.mark.parametrize("option", [("--speed", "0"), ("--scale", "nan"), ("--speed", "-1")])
def test_speeds_that_cannot_be(option: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(SHIPPED[0]), *option]) == ExitCode.BAD_SCENARIO
    assert "legal: a number above 0" in capsys.readouterr().err


def test_the_incident_report_fills_the_template(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "incident.yaml").write_text(SHIPPED[-1].read_text())
    assert main(["incident", "report", str(run)]) == ExitCode.PASSED
    text = (run / "incident.md").read_text()
    headings = ("Timeline", "Root Cause", "Metrics During Incident", "Action Items")
    for part in (
        *(f"## {heading}" for heading in headings),
        *("**Severity**: P1", "**Duration**:", "**Impact**:"),
        *("| TTFB P95 |", "| Drop-off rate |", "| Error rate |"),
        *("- [ ] Short-term fix: Add TTS replicas", "On-call acknowledged"),
    ):
        assert part in text
    for hole in ("[description]", "XX", "None", "nan"):
        assert hole not in text
    page = (run / "incident.html").read_text()
    assert "<script" not in page
    assert "On-call acknowledged" in page


def test_a_report_needs_no_times_of_calls_beside_the_run(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    incident = "incident: {title: By file}\narrivals: {file: times.csv}\nscenario: {}\n"
    (run / "incident.yaml").write_text(incident)
    assert main(["incident", "report", str(run)]) == ExitCode.PASSED
    assert "Report: By file" in (run / "incident.md").read_text()


def test_a_fault_that_did_nothing_is_no_cause(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    called = [json.loads(line) for line in (run / "calls.jsonl").read_text().splitlines()]
    begun_ns = min(call["started_at_ns"] for call in called)
    fault = Fault("idle", "stage.delay", Where.TARGET, parameters={"stage": "llm", "delay_ms": 0})
    told = [
        FaultEvent("idle", FaultMoment.STARTED, begun_ns, "t", spec=fault),
        FaultEvent("idle", FaultMoment.STOPPED, begun_ns + 10**9, "t", Evidence(0, "requests delayed")),
    ]
    (run / "faults.jsonl").write_text("".join(json.dumps(to_json(event)) + "\n" for event in told))
    assert main(["incident", "report", str(run)]) == ExitCode.PASSED
    text = (run / "incident.md").read_text()
    assert "Not injected, so no cause: idle (stage.delay): it started, but requests delayed: 0." in text
    assert "Fault began: idle (stage.delay), which touched nothing" in text
    assert "Broken on purpose" not in text
    assert "Recovered from" not in text


def test_a_fault_that_is_not_undone_is_the_first_thing_to_do(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    called = [json.loads(line) for line in (run / "calls.jsonl").read_text().splitlines()]
    begun_ns = min(call["started_at_ns"] for call in called)
    fault = Fault("gone", "process.kill", Where.INFRASTRUCTURE)
    told = [
        FaultEvent("gone", FaultMoment.STARTED, begun_ns, "t", spec=fault),
        FaultEvent("gone", FaultMoment.NOT_UNDONE, begun_ns + 10**9, "t", Evidence(1, "processes killed"), "status 3"),
    ]
    (run / "faults.jsonl").write_text("".join(json.dumps(to_json(event)) + "\n" for event in told))
    assert main(["incident", "report", str(run)]) == ExitCode.PASSED
    text = (run / "incident.md").read_text()
    assert "## Action Items\n\n- [ ] Short-term fix: Undo the fault gone (process.kill): status 3\n" in text
    assert "It was not undone: status 3." in text
    assert "going on as the run ended" in text


def test_a_run_of_which_nobody_knows_anything_has_a_report_as_well(tmp_path: Path) -> None:
    run, normal = write_run(tmp_path / "run"), write_run(tmp_path / "normal")
    assert main(["incident", "report", str(run), "--normal", str(normal)]) == ExitCode.PASSED
    assert "normal: run" in (run / "incident.md").read_text()
