"""What a recogniser heard in clips, kept: hearing a corpus takes minutes, and neither clips nor models change often.

A transcript belongs to the clip's bytes (sha256) and to the recogniser (weights, options, versions). Each one is on
disk as soon as it is heard, so an interrupted run goes on where it was.
"""

import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from pathlib import Path

from harness.corpus.audio import read_pcm
from harness.corpus.entry import Utterance
from harness.corpus.offline_stt import RATE, SttIdentity, Transcriber
from harness.corpus.progress import Progress
from harness.model.errors import ScenarioError

Heard = list[tuple[Utterance, str]]


def default_transcripts_dir() -> Path:
    """$XDG_CACHE_HOME/callquake/transcripts."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "callquake" / "transcripts"


class TranscriptStore:
    """The transcripts of one recogniser: a file of JSON lines, added to and never rewritten. Safe between threads."""

    def __init__(self, directory: Path, identity: SttIdentity) -> None:
        """Open the recogniser's file; ScenarioError where it cannot be read or made."""
        self._path = directory / f"{identity.key}.jsonl"
        self._lock = threading.Lock()
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._texts = dict(_read(self._path))
            if not self._path.exists():
                self._append({"recogniser": str(identity)})
        except OSError as error:
            raise ScenarioError(f"{self._path}: cannot keep transcripts: {error.strerror}") from error

    def get(self, sha256: str) -> str | None:
        """Return what was heard in the clip with these bytes."""
        return self._texts.get(sha256)

    def put(self, sha256: str, text: str) -> None:
        """Keep what was heard."""
        with self._lock:
            self._texts[sha256] = text
            self._append({"sha256": sha256, "text": text})

    def _append(self, line: dict[str, str]) -> None:
        # A newline before it ends a line that a killed run left torn.
        with self._path.open("ab") as file:
            torn = b"\n" if file.tell() and not _ends_a_line(self._path) else b""
            file.write(torn + json.dumps(line, ensure_ascii=False).encode() + b"\n")


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _read(path: Path) -> Iterator[tuple[str, str]]:
    if not path.exists():
        return
    for line in path.read_bytes().split(b"\n"):
        try:
            entry = json.loads(line)
            if isinstance(entry["sha256"], str) and isinstance(entry["text"], str):
                yield entry["sha256"], entry["text"]
        except (ValueError, KeyError, TypeError):
            # The head, a torn line, or nothing.
            continue


def hear(
    clips: Sequence[Utterance],
    stt: Transcriber,
    store: TranscriptStore | None,
    say: Callable[[str], None],
    workers: int = 1,
) -> Heard:
    """Return what `stt` hears in each of `clips`, in their order; those in `store` are taken from there.

    `say` gets a line a clip heard, with the time left. Raises ScenarioError where a clip cannot be decoded; what was
    heard until then, or until Ctrl-C, is kept.
    """
    texts = {clip.id: text for clip in clips if store and (text := store.get(clip.sha256)) is not None}
    todo = [clip for clip in clips if clip.id not in texts]
    if len(todo) < len(clips):
        say(f"{len(clips) - len(todo)} of {len(clips)} clips were heard before")
    progress = Progress([1.0] * len(todo))
    for number, (clip, text) in enumerate(_heard_now(todo, stt, workers)):
        texts[clip.id] = text
        if store is not None:
            store.put(clip.sha256, text)
        say(f"{number + 1}/{len(todo)} {clip.id}: {text}{progress.step(number, is_new=True)}")
    return [(clip, texts[clip.id]) for clip in clips]


def _heard_now(clips: Sequence[Utterance], stt: Transcriber, workers: int) -> Iterator[tuple[Utterance, str]]:
    """Yield clips as they are heard, never more than a few ahead, so that Ctrl-C has little to wait for."""
    left = iter(clips)
    with ThreadPoolExecutor(workers, "transcribe") as pool:

        def hear_one(clip: Utterance) -> tuple[Utterance, str]:
            return clip, stt.transcribe(read_pcm(clip, RATE))

        running: set[Future[tuple[Utterance, str]]] = {pool.submit(hear_one, clip) for clip in islice(left, workers)}
        try:
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                running |= {pool.submit(hear_one, clip) for clip in islice(left, len(done))}
                for one in done:
                    yield one.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
