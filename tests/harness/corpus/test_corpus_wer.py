"""`corpus wer`: rates by hand and by jiwer, paired differences, and transcripts that are kept and not made twice."""

import dataclasses
import json
from pathlib import Path

import jiwer
import numpy as np
import pytest

from harness.corpus import transcripts, wer_report
from harness.corpus.__main__ import main
from harness.corpus.entry import Utterance
from harness.corpus.manifest import load_corpus
from harness.corpus.offline_stt import SttIdentity
from harness.corpus.transcripts import TranscriptStore, hear
from harness.corpus.wer_table import CorpusWer, group_of
from harness.exit_codes import ExitCode
from harness.measure.normaliser import identity as normaliser
from harness.measure.normaliser import normalise

pytestmark = pytest.mark.unit

SENTENCES = {
    f"s{i}": f"{text} and the code is {digits}"
    for i, (text, digits) in enumerate(
        [
            ("please cancel my order", "four two"),
            ("send it to Park Road", "nine one one"),
            ("the lamp is broken", "zero seven"),
            ("I want two tablets", "five five eight"),
            ("call me on Sunday", "one six"),
            ("is the shop open", "three eight"),
        ]
    )
}


def clip(accent, sentence, noise="clean", snr_db=None, channel="wideband", **fields):
    base = f"{accent}-{sentence}"
    made = Utterance(
        id=base, path=f"{base}.opus", transcript=SENTENCES[sentence], accent=accent, native=accent == "american",
        speaker="v", noise=noise, snr_db=snr_db, speech_level_dbfs=-26.0, speech_start_ms=100.0, speech_end_ms=900.0,
        duration_ms=1000.0, sample_rate=48000, vocabulary="general", base_id=base, sha256="0" * 64, licence="CC0-1.0",
        channel=channel, sentence_id=sentence, **fields,
    )  # fmt: skip
    name = base if made.is_clean else f"{base}-{made.condition}"
    return dataclasses.replace(made, id=name, sha256=f"{name:0>64}"[-64:])


def heard_as(text, wrong):
    """The text with its first `wrong` words lost."""
    return " ".join(text.split()[wrong:])


# Words lost by accent and group.
LOST = {("american", "clean"): 0, ("american", "noisy"): 1, ("american", "noisy phone"): 2,
        ("hindi-l1", "clean"): 1, ("hindi-l1", "noisy"): 2, ("hindi-l1", "noisy phone"): 4}  # fmt: skip


BABBLE = {"noise": "babble", "snr_db": 5.0}


@pytest.fixture
def wer():
    heard = []
    for accent in ("american", "hindi-l1"):
        for sentence in SENTENCES:
            for condition in (
                {},
                {"noise": "babble", "snr_db": 5.0},
                {"noise": "babble", "snr_db": 5.0, "channel": "phone"},
            ):
                one = clip(accent, sentence, **condition)
                heard.append((one, heard_as(one.transcript, LOST[accent, group_of(one)])))
    return CorpusWer(heard)


@pytest.mark.parametrize(
    ("fields", "group"),
    [
        ({}, "clean"),
        ({"noise": "street", "snr_db": 5.0}, "noisy"),
        ({"noise": "street", "snr_db": 5.0, "channel": "phone-gsm"}, "noisy phone"),
        ({"noise": "street", "snr_db": 5.0, "channel": "opus-6k"}, "other"),
        ({"noise": "street", "snr_db": 5.0, "room": "hall"}, "other"),
        ({"channel": "phone"}, "other"),
        ({"distortion": "clipped"}, "other"),
    ],
)
def test_groups_of_conditions(fields, group):
    assert group_of(clip("american", "s0", **fields)) == group


def test_every_cell_is_jiwers_and_counts_its_clips(wer):
    for row in wer.rows:
        for condition in wer.conditions:
            cell = wer.cell(row, condition)
            rate = wer.rate(cell)
            expected = jiwer.wer(
                [normalise(one.clip.transcript) for one in cell], [" ".join(one.hypothesis) for one in cell]
            )
            assert rate.wer == pytest.approx(expected)
            assert rate.n_utterances == len(cell) == (12 if row == "all" else 6)
    assert wer.rows == ["american", "hindi-l1", "native", "non-native", "all"]
    assert wer.groups == ["clean", "noisy", "noisy phone"]


def test_differences_are_of_the_same_sentences_with_an_interval_that_leaves_out_zero(wer):
    change = wer.accent_difference("hindi-l1", "american", "clean")
    assert (change.n_pairs, change.n_groups, change.first) == (6, 6, 0.0)
    assert change.value == pytest.approx(6 / change.n_words)
    assert change.is_shown
    steps = [wer.group_difference("all", a, b) for a, b in (("clean", "noisy"), ("noisy", "noisy phone"))]
    assert [step.n_pairs for step in steps] == [12, 12]
    assert all(step.is_shown and step.value > 0 for step in steps)
    # Against itself nothing differs.
    same = wer.accent_difference("american", "american")
    assert (same.value, same.is_shown) == (0.0, False)


def test_clean_noise_and_a_noisy_line_are_compared_on_the_same_recordings(wer):
    same = wer.same_recordings("american")
    assert {group: len(clips) for group, clips in same.items()} == {"clean": 6, "noisy": 6, "noisy phone": 6}
    rates = [wer.rate(clips).wer for clips in same.values()]
    assert rates[0] < rates[1] < rates[2]
    # A clip without the same noise off the phone, and one without its clean clip, are in none of the three.
    phone = BABBLE | {"channel": "phone"}
    alone = [clip("american", "s0"), clip("american", "s0", "street", 5.0), clip("american", "s0", **phone)]
    alone += [clip("american", "s1", **BABBLE), clip("american", "s1", **phone)]
    assert not any(CorpusWer([(one, "") for one in alone]).same_recordings("all").values())


def test_what_has_no_partner_or_other_words_is_in_no_difference():
    alone = clip("hindi-l1", "s1")
    other_words = dataclasses.replace(clip("american", "s0"), transcript="something else")
    wer = CorpusWer([(other_words, ""), (clip("hindi-l1", "s0"), ""), (alone, "")])
    change = wer.accent_difference("hindi-l1", "american")
    assert (change.n_pairs, change.value) == (0, None)


def test_markdown_says_what_it_is_of_and_has_n_and_intervals(wer):
    origin = wer_report.Origin("audio", "f" * 64, "tiny.en", "callquake corpus wer")
    text = wer_report.to_markdown(wer, origin, "american")
    for words in ("whisper-normalizer", "tiny.en", "| hindi-l1 |", "noisy phone minus noisy", "What an accent costs"):
        assert words in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in tables if line.startswith("| american |")}) >= 1
    n_words = wer.rate(wer.cell("american", group="clean")).n_words
    assert f"6 / {n_words}" in text
    assert json.loads(json.dumps(wer_report.to_json(wer, origin, "american")))["normaliser"]
    # A corpus of one accent and nothing but clean clips has no difference to tell.
    small = CorpusWer([(clip("american", "s0"), SENTENCES["s0"])])
    assert "What an accent costs" not in wer_report.to_markdown(small, origin, None)
    assert "0.0" in wer_report.to_text(small, None)


IDENTITY = SttIdentity("fake", "a" * 64, "int8", "fake 1")


class FakeStt:
    """Hears its clip's number of samples as a word, and counts."""

    identity = IDENTITY

    def __init__(self, fail_at=None):
        self.n = 0
        self.fail_at = fail_at

    def transcribe(self, samples):
        self.n += 1
        if self.n == self.fail_at:
            raise KeyboardInterrupt
        return f"heard {len(samples)}"


@pytest.fixture
def clips(monkeypatch):
    monkeypatch.setattr(transcripts, "read_pcm", lambda one, rate: np.zeros(len(one.id), np.int16))
    return [clip("american", sentence) for sentence in SENTENCES]


def test_clips_are_heard_once_and_in_order(clips, tmp_path):
    said = []
    stt = FakeStt()
    first = hear(clips, stt, TranscriptStore(tmp_path, IDENTITY), said.append, workers=3)
    assert [one.id for one, _ in first] == [one.id for one in clips]
    assert [text for _, text in first] == [f"heard {len(one.id)}" for one in clips]
    assert len(said) == len(clips)
    assert hear(clips, stt, TranscriptStore(tmp_path, IDENTITY), said.append) == first
    assert stt.n == len(clips)
    # Another model, or other options, hear for themselves; and so does a clip whose bytes changed.
    other = TranscriptStore(tmp_path, dataclasses.replace(IDENTITY, options="float16"))
    hear(clips[:2], stt, other, said.append)
    hear([dataclasses.replace(clips[0], sha256="f" * 64)], stt, TranscriptStore(tmp_path, IDENTITY), said.append)
    assert stt.n == len(clips) + 3


def test_an_interrupted_run_keeps_what_it_heard_and_goes_on_behind_a_torn_line(clips, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        hear(clips, FakeStt(fail_at=4), TranscriptStore(tmp_path, IDENTITY), lambda _: None)
    (path,) = tmp_path.iterdir()
    with path.open("ab") as file:
        file.write(b'{"sha256": "abc", "te')
    stt = FakeStt()
    heard = hear(clips, stt, TranscriptStore(tmp_path, IDENTITY), lambda _: None)
    assert (stt.n, len(heard)) == (len(clips) - 3, len(clips))
    again = FakeStt()
    hear(clips, again, TranscriptStore(tmp_path, IDENTITY), lambda _: None)
    assert again.n == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model", "nowhere"], "holds no model.bin"),
        (["--against", "klingon"], "legal: american"),
        (["--markdown", "no/such/folder/x.md"], "no such folder"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_heard(options, words, capsys):
    assert main(["wer", *options]) == ExitCode.BAD_SCENARIO
    assert words in capsys.readouterr().err


def test_wer_counts_each_digit_and_ignores_how_it_is_written():
    one = dataclasses.replace(
        clip("american", "s0"), transcript="my account number is four one seven two, nine zero three eight."
    )
    rates = [CorpusWer([(one, f"My account number is {said}")]) for said in ("4172-9038.", "4 1 7 2 9 0 3 9.")]
    assert [wer.rate(wer.scored).wer for wer in rates] == [0.0, pytest.approx(1 / 12)]
    assert [wer.entities(wer.scored).accuracy for wer in rates] == [1.0, 0.0]


def test_the_table_of_the_docs_is_of_the_shipped_set():
    table = Path(__file__).resolve().parents[3] / "docs" / "wer-table.md"
    head = table.read_text().split("## ")[0]
    corpus = load_corpus(verify=False)
    why = "make it anew: callquake corpus wer --markdown docs/wer-table.md; only changed clips are heard again"
    assert f"{len(corpus.utterances)} clips" in head, why
    assert corpus.sha256[:16] in head, why
    assert normaliser() in head, why
