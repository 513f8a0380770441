"""The shipped set heard by the real recogniser: lines cost more than noise, noise more than none, and accents differ.

`pytest --soak tests/harness/corpus/test_corpus_wer_soak.py`: some minutes, for some three hundred clips.
"""

import json

import pytest

from harness.corpus.__main__ import main
from harness.corpus.manifest import load_corpus
from harness.corpus.offline_stt import OfflineStt, default_model_dir
from harness.corpus.transcripts import hear
from harness.corpus.wer_table import CorpusWer
from harness.exit_codes import ExitCode

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

CONDITIONS = ("clean", "babble-5db", "babble-5db-phone")


@pytest.fixture(scope="module")
def wer():
    """The core of the set: the sentences that every accent says in each of the three conditions."""
    pytest.importorskip("faster_whisper", reason="needs callquake[cpu]")
    if not (default_model_dir() / "model.bin").is_file():
        pytest.skip("no tiny.en: callquake models fetch")
    clips = load_corpus().select(condition=CONDITIONS)
    accents = {clip.accent for clip in clips}
    said = {}
    for clip in clips:
        said.setdefault(clip.sentence_id, set()).add((clip.accent, clip.condition))
    core = [clip for clip in clips if len(said[clip.sentence_id]) == len(accents) * len(CONDITIONS)]
    assert len({clip.sentence_id for clip in core}) >= 10
    stt = OfflineStt(default_model_dir(), workers=2)
    return CorpusWer(hear(core, stt, None, print, workers=2))


def test_native_clean_is_easier_than_noise_and_noise_easier_than_a_noisy_line(wer):
    rates = [wer.rate(wer.cell("native", group=group)).wer for group in ("clean", "noisy", "noisy phone")]
    assert rates[0] < rates[1] < rates[2]
    assert rates[0] < 0.05
    for row in ("native", "non-native"):
        assert wer.group_difference(row, "clean", "noisy").is_shown
        assert wer.group_difference(row, "noisy", "noisy phone").is_shown


def test_accents_differ_measurably_from_american_on_the_same_sentences(wer):
    others = [accent for accent in wer.accents if accent not in {"american", "british"}]
    shown = [a for a in others if (found := wer.accent_difference(a, "american")).is_shown and found.value > 0]
    assert len(shown) >= len(others) / 2, shown


def test_the_command_writes_a_table_of_a_part_and_goes_on_where_it_was(tmp_path, monkeypatch, capsys):
    pytest.importorskip("faster_whisper", reason="needs callquake[cpu]")
    model = default_model_dir()
    if not (model / "model.bin").is_file():
        pytest.skip("no tiny.en: callquake models fetch")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    table, figures = tmp_path / "t.md", tmp_path / "t.json"
    options = ["wer", "--model", str(model), "--domain", "yes-no", "--markdown", str(table), "--json", str(figures)]
    assert main(options) == ExitCode.PASSED
    heard = json.loads(figures.read_text())["clips"]
    assert len(heard) == len(load_corpus(verify=False).select(domain=["yes-no"]))
    assert sum(clip["errors"] for clip in heard) < sum(clip["n_words"] for clip in heard)
    first = table.read_text()
    capsys.readouterr()
    assert main(options) == ExitCode.PASSED
    assert f"{len(heard)} of {len(heard)} clips were heard before" in capsys.readouterr().err
    assert table.read_text() == first
