"""Is the corpus what its manifest says? Every file, every clean clip and every clip made of one, measured again."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from harness.corpus.audio import Pcm, read_pcm
from harness.corpus.derived_check import RATE, derived_problems
from harness.corpus.edges import find_edges
from harness.corpus.entry import Utterance
from harness.corpus.levels import active_speech_level
from harness.corpus.manifest import Corpus, verify_clip
from harness.corpus.workers import WorkerLostError, work
from harness.model.errors import ScenarioError

EDGE_TOLERANCE_MS = 20.0
LEVEL_TOLERANCE_DB = 0.5

# What may lie beside clips without being one.
_NOT_CLIPS = frozenset({"manifest.json", "recipe.yaml"})
# A clip takes some 0.2 s; a family that takes so long hangs.
_LONGEST_FAMILY_S = 900.0


@dataclass(frozen=True, slots=True)
class CheckedFamily:
    """A clean clip and all that was made of it, measured; `step` counts the families from 0 in manifest order."""

    step: int
    base_id: str
    clips: int
    problems: tuple[str, ...]


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


def find_problems(
    corpus: Corpus, *, jobs: int = 1, checked: Callable[[CheckedFamily], object] | None = None
) -> list[str]:
    """One line per disagreement between manifest and files: hash, length, edges, level, SNR, shift, stray files.

    Lines stand in the manifest's order, whatever `jobs` processes are done with first; `checked` is told of each
    family as it is done.
    """
    found: dict[int, tuple[str, ...]] = {}
    for family in _checked(families_of(corpus), jobs):
        found[family.step] = family.problems
        if checked is not None:
            checked(family)
    listed = {clip.file for clip in corpus.utterances.values()}
    folders = {file.parent for file in listed}
    strays = sorted(file for folder in folders for file in folder.iterdir() if file.is_file() and file not in listed)
    return [
        *(line for step in sorted(found) for line in found[step]),
        *(f"{file}: not in the manifest" for file in strays if file.name not in _NOT_CLIPS),
    ]


def families_of(corpus: Corpus) -> list[Corpus]:
    """Return the corpus in parts: a clean clip with all that was made of it each, in manifest order."""
    families: dict[str, dict[str, Utterance]] = {}
    for clip in corpus.utterances.values():
        families.setdefault(clip.base_id, {})[clip.id] = clip
    return [Corpus(corpus.directory, corpus.sha256, clips) for clips in families.values()]


def _checked(families: Sequence[Corpus], jobs: int) -> Iterator[CheckedFamily]:
    """Yield every family with its problems, as they are found."""
    if min(jobs, len(families)) <= 1:
        yield from (_of(step, family, _problems_of(family)) for step, family in enumerate(families))
        return
    # The longest first, so that at the end no process has much to do while the others have nothing.
    todo = sorted(enumerate(families), key=lambda job: -len(job[1].utterances))
    for (step, family), result in work(todo, _checker, count=min(jobs, len(todo)), limit_s=_LONGEST_FAMILY_S):
        problems = [f"{_base_id(family)}: {result}"] if isinstance(result, WorkerLostError) else result
        yield _of(step, family, problems)


def _of(step: int, family: Corpus, problems: Sequence[str]) -> CheckedFamily:
    return CheckedFamily(step, _base_id(family), len(family.utterances), tuple(problems))


def _base_id(family: Corpus) -> str:
    return next(iter(family.utterances.values())).base_id


def _checker() -> Callable[[tuple[int, Corpus]], list[str]]:
    """Return what a process does with each family."""
    return lambda job: _problems_of(job[1])


def _problems_of(family: Corpus) -> list[str]:
    problems = []
    for clip in family.utterances.values():
        try:
            verify_clip(clip)
        except ScenarioError as error:
            problems.append(str(error))
    if problems:
        # What is not the file the manifest means is not worth measuring.
        return problems
    clean = family.utterances[_base_id(family)]
    try:
        speech = _Speech.of(clean)
        problems += _clean_problems(speech)
        derived = [clip for clip in family.utterances.values() if not clip.is_clean]
        said = read_pcm(clean, RATE) if derived else speech.pcm
        for clip in derived:
            problems += derived_problems(family, clip, said)
    except ScenarioError as error:
        problems.append(str(error))
    return problems


def _clean_problems(speech: _Speech) -> list[str]:
    clip = speech.clip
    edges = find_edges(speech.pcm, clip.sample_rate, is_recorded="imported" in clip.tags)
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
