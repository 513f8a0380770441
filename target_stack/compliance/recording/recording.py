"""One call's recording. Nothing is written, nor held, of what was said before `keep_audio` or `keep_words`.

All files are written by one thread for all calls; the event loop only hands blocks over. When the disk is so slow that
MOST_WAITING blocks of a call wait, further audio is dropped, counted, and silence in the file.

A call may be deleted, by this process or another, while its recording goes on or its first jobs still wait: so the
folder is made before by who keeps the call (office.py), never here, and a file that was removed is not written to.
"""

import asyncio
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TypeVar

import numpy as np

from target_stack.compliance.recording.folders import CallFolders
from target_stack.compliance.recording.tracks import AgentTrack, CallerTrack, Placed
from target_stack.compliance.recording.wav import WavFile
from target_stack.frames import INPUT_RATE, SPEECH_RATE, Pcm, SpeechOut
from target_stack.gate import Gate

CALLER_FILE, AGENT_FILE = "caller.wav", "agent.wav"
TRANSCRIPT_FILE, TURNS_FILE = "transcript.jsonl", "turns.jsonl"
MOST_WAITING = 100
# Audio is handed over in pieces of this length.
_BLOCK_SAMPLES = INPUT_RATE // 2

T = TypeVar("T")


class Recording:
    """`keep_audio`, `keep_words` when they may begin; `aclose` or `abandon` at the end. On the event loop."""

    def __init__(self, folders: CallFolders, key: str, writer: ThreadPoolExecutor, disk: Gate | None = None) -> None:
        self._folders = folders
        self._key = key
        self._writer = writer
        self._disk = disk or Gate()
        self._files: dict[str, WavFile | IO[str]] = {}
        self._caller: CallerTrack | None = None
        self._agent: AgentTrack | None = None
        self._block: list[Placed] = []
        self._keeps_words = False
        self._waiting = 0
        self._errors: list[OSError] = []
        self.lost_blocks = 0

    @property
    def is_on(self) -> bool:
        """Tell whether anything of this call is being kept."""
        return self._keeps_words or self._caller is not None

    @property
    def failure(self) -> OSError | None:
        """Return the first error of the disk."""
        return self._errors[0] if self._errors else None

    # --- what may begin --------------------------------------------------------------------------------------------

    def keep_audio(self, now_ns: int) -> None:
        """Keep both sides' audio from now on."""
        self._caller, self._agent = CallerTrack(now_ns), AgentTrack(now_ns)
        self._submit(self._open_wav, CALLER_FILE, INPUT_RATE)
        self._submit(self._open_wav, AGENT_FILE, SPEECH_RATE)

    def keep_words(self) -> None:
        """Keep transcript and times of the turns from now on."""
        self._keeps_words = True
        self._submit(self._open_text, TRANSCRIPT_FILE)
        self._submit(self._open_text, TURNS_FILE)

    # --- what is kept ----------------------------------------------------------------------------------------------

    def caller_said(self, samples: Pcm, arrived_at_ns: int) -> None:
        """Keep the caller's samples."""
        if self._caller is not None:
            self._block.append(self._caller.place(samples, arrived_at_ns))
            if sum(len(part) for _, part in self._block) >= _BLOCK_SAMPLES:
                self._hand_over()

    def agent_queued(self, speech: SpeechOut, now_ns: int) -> None:
        """Take note of the agent's speech; what is kept of it is what will have been played."""
        if self._agent is not None:
            self._agent.queued(speech, now_ns)

    def agent_started(self, turn: int, at_ns: int) -> None:
        """Take note of a turn's first audible packet."""
        if self._agent is not None:
            self._agent.started(turn, at_ns)

    def agent_drained(self, turn: int) -> None:
        """Keep a turn that was played to its end."""
        if self._agent is not None:
            self._write_all(AGENT_FILE, self._agent.drained(turn))

    def agent_interrupted(self, played_s: float) -> None:
        """Keep what was played of an interrupted turn."""
        if self._agent is not None:
            self._write_all(AGENT_FILE, self._agent.dropped(played_s))

    def words(self, turn: int, who: str, text: str) -> None:
        """Keep what was said, one line of the transcript."""
        if self._keeps_words and text:
            self._submit(self._append, TRANSCRIPT_FILE, {"turn": turn, "who": who, "text": text})

    def times(self, row: dict[str, float]) -> None:
        """Keep a turn's times, data derived from the call."""
        if self._keeps_words:
            self._submit(self._append, TURNS_FILE, row)

    # --- the end ---------------------------------------------------------------------------------------------------

    async def aclose(self, now_ns: int) -> None:
        """Write what is left; the files stay."""
        if self._agent is not None:
            self._write_all(AGENT_FILE, self._agent.ended(now_ns))
        self._hand_over()
        self._stop()
        await self._done(self._close)

    async def abandon(self) -> None:
        """Stop at once and close the files, for the call's folder is about to be erased."""
        self._stop()
        await self._done(self._close)

    def _stop(self) -> None:
        self._caller = self._agent = None
        self._block.clear()
        self._keeps_words = False

    async def _done(self, job: Callable[[], T]) -> T:
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._writer, job))

    # --- on the writer's thread ------------------------------------------------------------------------------------

    def _submit(self, job: Callable[..., None], *arguments: object) -> None:
        self._waiting += 1
        loop = asyncio.get_running_loop()
        loop.run_in_executor(self._writer, self._guarded, job, *arguments).add_done_callback(self._one_less)

    def _one_less(self, _done: object) -> None:
        self._waiting -= 1

    def _guarded(self, job: Callable[..., None], *arguments: object) -> None:
        try:
            self._disk.pass_through()
            job(*arguments)
        except OSError as error:
            self._errors.append(error)

    def _hand_over(self) -> None:
        block, self._block = self._block, []
        self._write_all(CALLER_FILE, _joined(block))

    def _write_all(self, name: str, placed: list[Placed]) -> None:
        for at_sample, samples in placed:
            if self._waiting >= MOST_WAITING:
                self.lost_blocks += 1
            else:
                self._submit(self._write, name, at_sample, samples)

    def _folder(self) -> Path:
        return self._folders.of(self._key)

    def _open_wav(self, name: str, rate: int) -> None:
        self._files[name] = WavFile(self._folder() / name, rate)

    def _open_text(self, name: str) -> None:
        descriptor = os.open(self._folder() / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._files[name] = os.fdopen(descriptor, "w", encoding="utf-8", buffering=1)

    def _write(self, name: str, at_sample: int, samples: Pcm) -> None:
        file = self._still_there(name)
        if isinstance(file, WavFile):
            file.write(at_sample, samples)

    def _append(self, name: str, row: dict[str, object]) -> None:
        file = self._still_there(name)
        if file is not None and not isinstance(file, WavFile):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def _still_there(self, name: str) -> WavFile | IO[str] | None:
        """Return an open file, unless it was removed meanwhile: what is written to such a one nobody overwrites."""
        file = self._files.get(name)
        if file is not None and os.fstat(file.fileno()).st_nlink == 0:
            self._files.pop(name).close()
            return None
        return file

    def _close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()


def _joined(block: list[Placed]) -> list[Placed]:
    """Return the packets with neighbours put together."""
    runs: list[tuple[int, list[Pcm], int]] = []
    for at, samples in block:
        if runs and runs[-1][2] == at:
            start, parts, _ = runs[-1]
            parts.append(samples)
            runs[-1] = (start, parts, at + len(samples))
        else:
            runs.append((at, [samples], at + len(samples)))
    return [(start, np.concatenate(parts)) for start, parts, _ in runs]
