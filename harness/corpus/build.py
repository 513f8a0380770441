"""From recipe to corpus: every family made (or found in the cache), gathered in a staging folder, put in place at once.

One process a core, each with the voice model on one thread, so that what comes out does not depend on how many there
are. Ctrl-C stops at once: what is made stays in the cache, and the next build goes on from there.
"""

import json
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harness.corpus.build_cache import BuildCache
from harness.corpus.choice import Family
from harness.corpus.clip_maker import BEDS, CLIPS, ClipMaker, Made, Speaker
from harness.corpus.conditions.names import CLEAN
from harness.corpus.manifest import MANIFEST_NAME, write_manifest
from harness.corpus.progress import Progress
from harness.corpus.provenance import NAME as PROVENANCE_NAME
from harness.corpus.provenance import provenance, write_provenance
from harness.corpus.recipe import Recipe
from harness.corpus.speech import Synthesiser
from harness.model.errors import ScenarioError

Say = Callable[[str], None]
_PARTS = (CLIPS, BEDS, MANIFEST_NAME, PROVENANCE_NAME)


@dataclass(frozen=True)
class Weights:
    """Where the voice model and its voices lie."""

    model: Path
    voices: Path


@dataclass(frozen=True)
class Job:
    """A recipe, the folder it lies in, and where the cache is."""

    recipe: Recipe
    folder: Path
    cache_dir: Path

    def maker(self, speaker: Speaker) -> ClipMaker:
        """Return what makes this recipe's clips with that voice."""
        return ClipMaker(self.recipe, self.folder, speaker, BuildCache(self.cache_dir))


def build_corpus(
    job: Job, families: Sequence[Family], out: Path, source: Weights | Speaker, *, say: Say = print, jobs: int = 1
) -> int:
    """Build the clips of `families` under `out` with a manifest; return their number.

    What an earlier build left in `out` is replaced as a whole when all is made; a build that fails or is interrupted
    changes nothing there. `source` is the voice model for `jobs` processes, or a speaker of this process. Raises
    ScenarioError.
    """
    _check_replaceable(out)
    maker = job.maker(_synthesiser(job, source) if isinstance(source, Weights) else source)
    noises = {c.noise for family in families for c in family.conditions} - {CLEAN}
    beds = {}
    for name in sorted(noises):
        say(f"noise {name}")
        beds[name] = maker.bed_file(name)
    progress = Progress([_work(family) for family in families])
    made: dict[int, list[Made]] = {}
    for index, clips in _make_all(job, maker, families, source, jobs):
        made[index] = clips
        count = sum(clip.is_new for clip in clips)
        note = progress.step(index, is_new=count > 0)
        say(f"[{len(made)}/{len(families)}] {families[index].base_id}: {len(clips)} clips, {count} new{note}")
    gathered = [clip for index in sorted(made) for clip in made[index]]
    weights = (source.model, source.voices) if isinstance(source, Weights) else None
    _put_in_place(out, gathered, beds, provenance(job.recipe, weights))
    return len(gathered)


def _work(family: Family) -> float:
    """How much there is to do: speaking a letter costs about as much as a quarter of a condition."""
    return len(family.sentence.text) + 4 * len(family.conditions)


def _synthesiser(job: Job, weights: Weights) -> Synthesiser:
    return Synthesiser(weights.model, weights.voices, BuildCache(job.cache_dir))


def _make_all(
    job: Job, maker: ClipMaker, families: Sequence[Family], source: Weights | Speaker, jobs: int
) -> Iterator[tuple[int, list[Made]]]:
    """Yield every family's clips with its place, as they are done."""
    if jobs == 1 or not isinstance(source, Weights):
        for index, family in enumerate(families):
            yield index, maker.family(family)
        return
    # Forked children would share the threads' locks of what this process has loaded.
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin, initargs=(job, source))
    try:
        futures: dict[Future[list[Made]], int] = {
            executor.submit(_make, family): index for index, family in enumerate(families)
        }
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool as error:
        raise ScenarioError(
            "a process of the build died (out of memory?); what was made is kept: build again, with fewer --jobs"
        ) from error
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            child.terminate()


_MAKERS: list[ClipMaker] = []


def _begin(job: Job, weights: Weights) -> None:
    """Make this process ready; the parent alone hears Ctrl-C and ends its children."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _MAKERS[:] = [job.maker(_synthesiser(job, weights))]


def _end_with_parent() -> None:
    """Leave no process behind when the parent is killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _make(family: Family) -> list[Made]:
    return _MAKERS[0].family(family)


def _check_replaceable(out: Path) -> None:
    """Refuse to delete what no build has made."""
    if (out / MANIFEST_NAME).exists():
        return
    for name in (CLIPS, BEDS):
        if (out / name).exists():
            raise ScenarioError(
                f"{out}: holds a folder {name} but no {MANIFEST_NAME}: not a corpus, and a build would replace the "
                "folder; name another with --out"
            )


def refuse_to_drop(out: Path, families: Sequence[Family]) -> None:
    """Refuse to replace a corpus by a part of it. Raises ScenarioError."""
    manifest = out / MANIFEST_NAME
    if not manifest.is_file():
        return
    try:
        there = {entry["id"] for entry in json.loads(manifest.read_text(encoding="utf-8"))["utterances"]}
    except (ValueError, KeyError, TypeError) as error:
        raise ScenarioError(f"{manifest}: not a manifest: {error}; name another folder with --out") from error
    lost = sorted(there - {clip_id for family in families for clip_id in family.clip_ids})
    if lost:
        raise ScenarioError(
            f"{out}: has {len(lost)} clips that this build would drop ({lost[0]}, ...); name another folder with --out"
        )


def _put_in_place(out: Path, made: Sequence[Made], beds: dict[str, Path], built_with: dict[str, Any]) -> None:
    """Gather everything beside its place, then exchange old for new."""
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".building-", dir=out) as work:
        new, old = Path(work) / "new", Path(work) / "old"
        for folder in (new / CLIPS, new / BEDS, old):
            folder.mkdir(parents=True)
        for name, bed in beds.items():
            shutil.copyfile(bed, new / BEDS / f"{name}.opus")
        for clip in made:
            shutil.copyfile(clip.file, new / clip.entry.path)
        write_manifest(new, [clip.entry for clip in made])
        write_provenance(new, built_with)
        _exchange(out, new, old)


def _exchange(out: Path, new: Path, old: Path) -> None:
    """Move the old parts away and the new ones in; put the old ones back where that fails."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for name in _PARTS:
            if (out / name).exists():
                (out / name).rename(old / name)
            (new / name).rename(out / name)
    except OSError:
        for name in _PARTS:
            if (old / name).exists():
                if (out / name).exists():
                    (out / name).rename(new / name)
                (old / name).rename(out / name)
        raise
    finally:
        signal.signal(signal.SIGINT, before)


def say_on_stderr(line: str) -> None:
    """Progress for people; standard output stays free for results."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)
