"""The voice that the batching benchmark measures, and what it makes of its figures; speed is not asserted."""

import asyncio
import json

import numpy as np
import pytest

from benchmarks.failure import BenchmarkError
from benchmarks.gru_voice import FRAME_SAMPLES, FRAMES_A_CHARACTER, GruVoice
from benchmarks.tts_batching import BEGIN, END, Cell, _SameSpeech, main, measure, table
from target_stack.pipeline.batch_queue import BatchRules
from target_stack.stages.scripted_llm import REPLIES

pytestmark = pytest.mark.unit


def test_a_sentence_comes_out_the_same_in_any_company():
    voice = GruVoice(width=16, layers=2)
    sentences = ["Hello there.", "", "Yes.", "A rather longer sentence.", "Yes."]
    together = voice.speak(sentences)
    for sentence, samples in zip(sentences, together, strict=True):
        (alone,) = voice.speak([sentence])
        assert len(samples) == len(sentence) * FRAMES_A_CHARACTER * FRAME_SAMPLES
        np.testing.assert_allclose(samples, alone, rtol=0, atol=2)
    assert not np.array_equal(*(voice.speak([text])[0] for text in ("One.", "Two.")))


def test_figures_are_of_what_was_spoken_and_anothers_speech_is_found():
    voice = GruVoice(width=8, layers=1)
    same = _SameSpeech(voice, is_exact=True)
    cell = asyncio.run(measure("gru", [voice], BatchRules(4, 20, 60_000), 4, 12, same.check))
    assert (cell.sentences, cell.size, cell.callers) == (12, 4, 4)
    assert 1 <= cell.mean_batch <= 4
    expected_s = sum(len(REPLIES[n % len(REPLIES)]) for n in range(12)) * 0.06
    assert cell.speech_s == pytest.approx(expected_s)
    assert 0 < cell.busy_ratio <= 1
    with pytest.raises(BenchmarkError, match="came out with another's speech"):
        same.check(REPLIES[0], voice.speak([REPLIES[1]])[0])


def test_gains_are_told_round_by_round_against_batches_of_one_with_as_many_callers():
    def cell(size, callers, seconds, cpu_s):
        return Cell("m", 1, size, callers, 12, seconds, cpu_s, 24.0, size, 0.9, 100.0, 200.0)

    cells = [
        cell(1, 4, 6.0, 4.0),
        cell(8, 4, 2.0, 1.0),
        cell(1, 4, 12.0, 4.0),
        cell(8, 4, 3.0, 1.0),
        cell(8, 9, 2.0, 1),
    ]
    rows = [line.split(" | ") for line in table(cells).splitlines()[2:]]
    assert [row[5] for row in rows] == ["1.00 (1.00-1.00, n=2)", "3.50 (3.00-4.00, n=2)", "not measured"]
    assert rows[1][6] == "4.00 (4.00-4.00, n=2)"


def test_the_command_writes_its_figures(tmp_path, capsys):
    path = tmp_path / "out" / "cells.json"
    arguments = [
        "--models",
        "gru",
        "--width",
        "8",
        "--sizes",
        "1,2",
        "--callers",
        "2",
        "--sentences",
        "4",
        "--rounds",
        "1",
    ]
    assert main([*arguments, "--wait-ms", "0", "--json", str(path)]) == 0
    assert "| gru | 1 | 2 | 2 |" in capsys.readouterr().out
    cells = json.loads(path.read_text())["cells"]
    assert [cell["size"] for cell in cells] == [1, 2]
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert main([str(path), "--into", str(page)]) == 0
    assert "old" not in page.read_text()
    assert "| gru | 1 | 2 | 2 |" in page.read_text()
    assert page.read_text().endswith(f"{END}\nafter\n")
    assert main(["--models", "kokoro-torch"]) == 1
    assert "needs --weights" in capsys.readouterr().err
