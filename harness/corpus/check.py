"""Is the corpus what its manifest says? Every file, every clean clip and every clip made of one, measured again."""

from dataclasses import dataclass

from harness.corpus.audio import Pcm, read_pcm
from harness.corpus.derived_check import RATE, derived_problems
from harness.corpus.edges import find_edges
from harness.corpus.entry import Utterance
from harness.corpus.levels import active_speech_level
from harness.corpus.manifest import Corpus, verify_clip
from harness.model.errors import ScenarioError

EDGE_TOLERANCE_MS = 20.0
LEVEL_TOLERANCE_DB = 0.5

# What may lie beside clips without being one.
_NOT_CLIPS = frozenset({"manifest.json", "recipe.yaml"})


@dataclass(frozen=True, slots=True)
class _Speech:
    """The clean clip of a family, decoded and measured once."""

    clip: Utterance
    pcm: Pcm
    level_dbfs: float

    @classmethod
    def of(cls, clip: Utterance) -> "_Speech":
        pcm = read_pcm(clip, clip.sample_rate)
        return cls(clip, pcm, active_speech_level(pcm, clip.sample_rate).active_dbfs)


def find_problems(corpus: Corpus) -> list[str]:
    """One line per disagreement between manifest and files: hash, length, edges, level, SNR, shift, stray files."""
    problems: list[str] = []
    families: dict[str, list[Utterance]] = {}
    for clip in corpus.utterances.values():
        families.setdefault(clip.base_id, []).append(clip)
    for base_id, family in families.items():
        problems += _family_problems(corpus, corpus.utterances[base_id], family)
    listed = {clip.file for clip in corpus.utterances.values()}
    folders = {file.parent for file in listed}
    strays = sorted(file for folder in folders for file in folder.iterdir() if file.is_file() and file not in listed)
    return problems + [f"{file}: not in the manifest" for file in strays if file.name not in _NOT_CLIPS]


def _family_problems(corpus: Corpus, clean: Utterance, family: list[Utterance]) -> list[str]:
    problems = []
    for clip in family:
        try:
            verify_clip(clip)
        except ScenarioError as error:
            problems.append(str(error))
    if problems:
        # What is not the file the manifest means is not worth measuring.
        return problems
    try:
        speech = _Speech.of(clean)
        problems += _clean_problems(speech)
        derived = [clip for clip in family if not clip.is_clean]
        said = read_pcm(clean, RATE) if derived else speech.pcm
        for clip in derived:
            problems += derived_problems(corpus, clip, said)
    except ScenarioError as error:
        problems.append(str(error))
    return problems


def _clean_problems(speech: _Speech) -> list[str]:
    clip = speech.clip
    edges = find_edges(speech.pcm, clip.sample_rate)
    if edges is None:
        return [f"{clip.id}: no speech found"]
    problems = []
    for name, measured in (("speech_start_ms", edges.start_ms), ("speech_end_ms", edges.end_ms)):
        stated = getattr(clip, name)
        if abs(measured - stated) > EDGE_TOLERANCE_MS:
            problems.append(f"{clip.id}.{name}: measured {measured:.0f} ms, the manifest says {stated:.0f} ms")
    level, stated = speech.level_dbfs, clip.speech_level_dbfs
    if abs(level - stated) > LEVEL_TOLERANCE_DB:
        problems.append(f"{clip.id}.speech_level_dbfs: measured {level:.1f}, the manifest says {stated}")
    return problems
