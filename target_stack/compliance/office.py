"""What all calls share for compliance: rules, store, texts and their speech, the recordings' writer, counts."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from target_stack.compliance.database import open_database
from target_stack.compliance.decision import Decision, Situation, decide
from target_stack.compliance.deletion import Deleted, Deletion
from target_stack.compliance.ledger import Ledger
from target_stack.compliance.pseudonym import Pseudonyms, open_pseudonyms
from target_stack.compliance.recording.folders import CallFolders
from target_stack.compliance.recording.recording import Recording
from target_stack.compliance.settings import Settings
from target_stack.compliance.store import ConsentStore, KeptCall
from target_stack.compliance.texts import Script
from target_stack.compliance.words import Direction
from target_stack.frames import Pcm
from target_stack.gate import Gate
from target_stack.stages.tts import TextToSpeech
from target_stack.telemetry.compliance import ComplianceCounts
from target_stack.wall_clock import CLOCK

_log = logging.getLogger(__name__)
# Texts differ by nothing but the days a call is kept.
_MOST_TEXTS = 64


def utc_now() -> datetime:
    """Return the time that deletion goes by: what a clock that is wrong on purpose deleted would be gone for good."""
    return datetime.now(UTC)


class Office:
    """`open` before the first call, `prepare` when the voice is loaded, `aclose` after the last call."""

    def __init__(self, settings: Settings, now: Callable[[], datetime] | None = None, disk: Gate | None = None) -> None:
        """`now`: the time that consents and the trail go by. `disk`: asked before anything is written."""
        block = settings.block
        self.settings = settings
        self.counts = ComplianceCounts()
        self.now = now or CLOCK.now
        self._true_now = now or utc_now
        self._disk = disk
        self.script = Script(block.texts, block.operator, block.keys.model_dump())
        self.folders = CallFolders(settings.folder)
        self.ledger = Ledger(self._new_store)
        self._pseudonyms: Pseudonyms | None = None
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="recording")
        self._tts: TextToSpeech | None = None
        self._speech: dict[str, Pcm] = {}
        self._sweeper: asyncio.Task[None] | None = None
        self._is_due = asyncio.Event()
        # True after a purge that failed, and at first: the last process may have died before its own.
        self._must_purge = True

    @property
    def pseudonyms(self) -> Pseudonyms:
        """What stands for callers; only after `open`."""
        if self._pseudonyms is None:
            raise RuntimeError("the office is not open")
        return self._pseudonyms

    def _new_store(self) -> ConsentStore:
        self._pseudonyms = open_pseudonyms(self.settings.folder)
        return ConsentStore(open_database(self.settings.store), self._pseudonyms.of)

    async def open(self) -> None:
        """Connect to the store and begin to sweep. Raises StoreError, OSError."""
        await self.ledger.open()
        self._is_due.set()
        self._sweeper = asyncio.create_task(self._sweep(), name="compliance sweep")

    async def prepare(self, tts: TextToSpeech) -> None:
        """Speak what the first caller of the default region will hear, so that none of them waits for it."""
        self._tts = tts
        decision = self.decide(self.settings.block.default_region, Direction.INBOUND)
        kept = self.retention(decision)
        for notice in decision.say_first:
            await self.speech(self.script.notice(notice, kept))
        if decision.ask:
            await self.speech(self.script.question(decision.ask, kept, is_answer_heard=self.hears(decision)))
            await self.speech(self.script.declined())

    async def aclose(self) -> None:
        """Stop sweeping, write what waits, close the store."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        await self.ledger.aclose()
        await asyncio.to_thread(self._writer.shutdown)

    # --- what calls ask for ----------------------------------------------------------------------------------------

    def decide(self, region: str, direction: Direction) -> Decision:
        """Return what holds for a caller of whom nothing is known."""
        return decide(self.settings.table, Situation(region, direction, self.now(), {}, self.settings.wanted))

    def retention(self, decision: Decision) -> timedelta:
        """Return how long a call is kept: by the rules, or shorter by configuration."""
        return min(decision.retention, timedelta(days=self.settings.block.retention_days))

    def hears(self, decision: Decision) -> bool:
        """Tell whether answers may be spoken."""
        return decision.is_answer_heard or self.settings.block.transient_answers

    async def keep(self, call: KeptCall) -> None:
        """Note that something of a call is kept, then make its folder, which is the recording's leave to write.

        Both on the ledger's thread, where deletions are; another process may delete the call at any moment between.
        Raises StoreError.
        """
        await self.ledger.ask(lambda store: self._keep(store, call))

    def _keep(self, store: ConsentStore, call: KeptCall) -> None:
        store.keep(call)
        try:
            self.folders.make(call.key)
            if not store.kept(call_id=call.key):
                # Deleted before there was a folder to find; whoever deletes the row after this finds it.
                self.folders.erase(call.key)
        except OSError:
            # The recording fails as well, for want of its folder, and the call goes on without.
            _log.exception("a call's folder cannot be made; nothing of the call is recorded")

    def new_recording(self, key: str) -> Recording:
        """Return a call's recording, for a call that `keep` made the folder of; no file is there yet."""
        return Recording(self.folders, key, self._writer, self._disk)

    async def speech(self, text: str) -> Pcm:
        """Return the speech of one of our texts, from memory when it was spoken before. Raises what the TTS raises."""
        if self._tts is None:
            raise RuntimeError("the office has no voice yet")
        if text not in self._speech:
            samples = (await self._tts.synthesise(text)).samples
            while len(self._speech) >= _MOST_TEXTS:
                del self._speech[next(iter(self._speech))]
            self._speech[text] = samples
        return self._speech[text]

    # --- deletion --------------------------------------------------------------------------------------------------

    async def make_due(self, caller: str, reason: str) -> None:
        """Let everything kept of a caller be deleted now."""
        at = self._true_now()
        if await self.ledger.ask(lambda store: store.make_due(caller, at, reason)):
            self._is_due.set()

    async def delete(self, job: Callable[[Deletion], Deleted], reason: str) -> Deleted:
        """Run a deletion on the ledger's thread and count it. Raises StoreError; the next one then purges, too."""
        purges, self._must_purge = self._must_purge, True
        done = await self.ledger.ask(
            lambda store: job(Deletion(store, self.folders, self.pseudonyms, always_purges=purges))
        )
        self._must_purge = False
        self.counts.deletions[reason] += done.calls
        for failure in done.failed:
            self.counts.deletions["failed"] += 1
            _log.error("a call could not be deleted: %s", failure)
        return done

    async def _sweep(self) -> None:
        proof = timedelta(days=self.settings.block.proof_days)
        while True:
            try:
                async with asyncio.timeout(self.settings.block.sweep_every_s):
                    await self._is_due.wait()
            except TimeoutError:
                pass
            self._is_due.clear()
            now = self._true_now()
            try:
                await self.delete(lambda deletion, now=now: deletion.due(now, proof), "due")  # type: ignore[misc]
            except Exception:  # noqa: BLE001 - the next sweep may have the disk or the store back
                _log.exception("the sweep of what is due failed; it is tried again")
