"""The picture of a turn's way, drawn from what the overlap benchmark wrote."""

import json
import xml.etree.ElementTree as ET

import pytest

from benchmarks.failure import BenchmarkError
from benchmarks.turn_picture import main, median_pair, picture

pytestmark = pytest.mark.unit

MACHINE = {"cores": 2, "date": "2026-01-02 03:04 UTC", "commit": "abc"}
SPANS = [
    ["stt", "partial", -2_000.0, -1_700.0],
    ["stt", "draft", -900.0, -600.0],
    ["llm", "cancelled", -600.0, -300.0],
    ["endpointing", "", 0.0, 500.0],
    ["stt", "draft", 160.0, 460.0],
    ["llm", "", 460.0, 900.0],
    ["tts", "", 700.0, 1_100.0],
    ["playout", "", 1_100.0, 1_105.0],
]


def call(clip, mode, ttfb_ms, stage_sum_ms=2_000.0):
    work = {"endpointing": 500.0, "llm": 440.0, "tts": 400.0, "playout": 5.0, "stt": 300.0}
    return {
        "clip": clip, "mode": mode, "ttfb_ms": ttfb_ms, "stage_sum_ms": stage_sum_ms, "gap_ms": 0.0, "work_ms": work,
        "spans": SPANS, "user_audio_ms": 2_400.0, "spoken_ms": 2_000.0,
    }  # fmt: skip


CALLS = [
    *(call("a", "off", 2_000.0), call("a", "on", 600.0)),
    *(call("b", "on", 1_105.0), call("b", "off", 2_100.0)),
    *(call("c", "off", 2_050.0), call("c", "on", 1_900.0)),
]


def document(calls):
    return {"benchmark": "overlap", "machine": MACHINE, "llm": "real", "calls": calls}


def test_the_clip_of_the_median_ratio_is_drawn():
    on, off = median_pair(CALLS)
    assert (on["clip"], on["mode"], off["clip"], off["mode"]) == ("b", "on", "b", "off")
    with pytest.raises(BenchmarkError, match="both agents"):
        median_pair(CALLS[:1])


def test_every_span_is_a_bar_where_it_was_and_what_was_in_vain_is_pale():
    root = ET.fromstring(picture(document(CALLS)))
    space = "{http://www.w3.org/2000/svg}"
    bars = [box for box in root.iter(f"{space}rect") if box.get("class") != "lane"]
    of = {kind: [box for box in bars if box.get("class") == kind] for kind in ("stt", "stt vain", "llm", "llm vain")}
    # Two panels: the draft that became the turn's words, before it a partial and a draft that did not.
    assert [len(found) for found in of.values()] == [2, 4, 2, 2]
    widths = {kind: float(found[0].get("width")) for kind, found in of.items()}
    assert widths["llm"] / widths["stt"] == pytest.approx(440 / 300, rel=0.02)
    assert float(of["llm"][0].get("x")) == pytest.approx(float(of["stt"][0].get("x")) + widths["stt"], abs=0.1)
    texts = [text.text for text in root.iter(f"{space}text")]
    assert any(text.startswith("TTFB 1,105 ms") and "in all 2,000 ms" in text for text in texts)
    assert any("median of 3 such pairs" in text for text in texts)


def test_the_command(tmp_path, capsys):
    source, out = tmp_path / "overlap.json", tmp_path / "img" / "turn.svg"
    source.write_text(json.dumps(document(CALLS)))
    assert main([str(source), "--out", str(out)]) == 0
    assert out.read_text() == picture(document(CALLS))
    source.write_text("{}")
    assert main([str(source), "--out", str(out)]) == 1
    assert "was not written by" in capsys.readouterr().err
