"""`check` measures clips of every condition again: right ones pass, spoilt ones are named."""

from dataclasses import replace

import numpy as np
import pytest
from condition_signals import RATE

from harness.corpus.audio import decode_file, read_pcm, write_opus
from harness.corpus.conditions.beds import bed_from, build_bed
from harness.corpus.conditions.chain import apply, output_samples
from harness.corpus.conditions.specs import CarSpec, ConditionLibrary, ConditionSpec
from harness.corpus.derived_check import derived_problems, measure_shift_ms, measure_snr_db
from harness.corpus.manifest import load_corpus
from harness.model.errors import ScenarioError

pytestmark = pytest.mark.unit

LIBRARY = ConditionLibrary(noises={"car": CarSpec(kind="car", bed_ms=9000)})
# Near the bed's end: the clip's noise goes on at its beginning.
OFFSET_MS = 7321


@pytest.fixture
def made(tmp_path):
    """Make a corpus of one clean clip and one of a condition; `shift` and `louder` spoil the second."""
    shipped = load_corpus(verify=False)
    clean = replace(next(u for u in shipped.utterances.values() if u.is_clean), path="clean.opus", root=tmp_path)
    speech = read_pcm(replace(clean, root=shipped.directory, path=shipped.utterances[clean.id].path), RATE)
    write_opus(tmp_path / "clean.opus", speech, 56_000)
    (tmp_path / "noise").mkdir()
    write_opus(tmp_path / "noise" / "car.opus", build_bed(LIBRARY.noises["car"], np.random.default_rng(3)), 56_000)
    bed = decode_file(tmp_path / "noise" / "car.opus", RATE)

    def make(condition, *, shift_ms=0.0, stated_snr_db=None, offset_tag=f"noise-offset-ms:{OFFSET_MS}"):
        count = output_samples(condition, len(speech), LIBRARY)
        noise = None if condition.noise == "clean" else bed_from(bed, OFFSET_MS, count)
        pcm = np.roll(apply(condition, speech, noise, LIBRARY), round(shift_ms * RATE / 1000))
        write_opus(tmp_path / "derived.opus", pcm, 56_000)
        snr = condition.snr_db if stated_snr_db is None else stated_snr_db
        derived = replace(
            clean,
            id=f"{clean.id}-{condition.name}",
            path="derived.opus",
            noise=condition.noise,
            snr_db=snr,
            room=condition.room,
            distortion=condition.distortion,
            channel=condition.channel,
            duration_ms=len(pcm) * 1000 / RATE,
            tags=(*clean.tags, offset_tag),
        )
        corpus = type(shipped)(tmp_path, shipped.sha256, {clean.id: clean, derived.id: derived})
        return corpus, derived, read_pcm(clean, RATE)

    return make


@pytest.mark.parametrize(
    "condition",
    [
        ConditionSpec(noise="car", snr_db=5),
        ConditionSpec(noise="car", snr_db=5, channel="phone"),
        ConditionSpec(noise="car", snr_db=10, room="office"),
        ConditionSpec(noise="car", snr_db=10, distortion="low-level"),
        ConditionSpec(noise="car", snr_db=5, channel="phone-gsm"),
        ConditionSpec(noise="car", snr_db=15, distortion="clipped", channel="amr-12k2"),
        ConditionSpec(room="office", channel="opus-6k"),
        ConditionSpec(channel="phone-amr-4k75"),
    ],
    ids=lambda condition: condition.name,
)
def test_a_right_clip_passes_and_a_late_one_does_not(made, condition):
    corpus, derived, clean = made(condition)
    assert derived_problems(corpus, derived, clean) == []
    assert abs(measure_shift_ms(corpus, derived)) < 0.3
    corpus, late, clean = made(condition, shift_ms=7)
    assert measure_shift_ms(corpus, late) == pytest.approx(7, abs=0.3)
    # The noise of a rolled clip is no longer where its tag says: that is a problem of its own.
    problem, *_ = derived_problems(corpus, late, clean)
    assert problem.startswith(f"{late.id}: its speech lies +")
    assert problem.endswith("edges do not hold")


@pytest.mark.parametrize("channel", ["wideband", "phone", "g722"])
@pytest.mark.parametrize("room", ["none", "office"])
def test_a_clip_whose_snr_is_not_the_stated_one_is_named(made, room, channel):
    corpus, derived, clean = made(ConditionSpec(noise="car", snr_db=8, room=room, channel=channel), stated_snr_db=12)
    (problem,) = derived_problems(corpus, derived, clean)
    assert problem.startswith(f"{derived.id}.snr_db: measured ")
    assert problem.endswith("the manifest says 12")
    assert measure_snr_db(corpus, derived) == pytest.approx(8, abs=0.6)


def test_where_the_snr_cannot_be_found_again_nobody_is_accused(made):
    corpus, derived, clean = made(ConditionSpec(noise="car", snr_db=8, channel="gsm"), stated_snr_db=12)
    assert derived_problems(corpus, derived, clean) == []
    assert measure_snr_db(corpus, derived) is None


def test_an_offset_that_is_none_is_refused(made):
    corpus, derived, clean = made(ConditionSpec(noise="car", snr_db=8), offset_tag="noise-offset-ms:soon")
    with pytest.raises(ScenarioError, match="noise-offset-ms:soon; legal: noise-offset-ms: and a whole number of ms"):
        derived_problems(corpus, derived, clean)
