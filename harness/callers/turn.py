"""One turn as the caller lives through it, and the row it leaves."""

from dataclasses import dataclass, field

from harness.callers.exchange import TEXT_SOURCES, Spoken, UserTranscript
from harness.model.clock import ms_between
from harness.model.plan import CallPlan, PlannedTurn
from harness.model.records import StageTimes, TurnRecord


@dataclass(slots=True)
class Turn:
    """One saying of one utterance. Times are monotonic ns."""

    number: int
    attempt: int
    planned: PlannedTurn
    started_at_ns: int | None = None
    ended_at_ns: int | None = None
    onset_at_ns: int | None = None
    # Where that is not when it arrived: a carrier's playout buffer stands in between.
    heard_at_ns: int | None = None
    # An earlier saying of the call timed out: what is heard now may be the answer to that one.
    out_of_step: bool = False
    overlapped: bool = False
    answered_early: bool = False
    censored: bool = False
    waited_ms: float = 0.0
    agent_stopped_at_ns: int | None = None
    # Begun over the agent's voice on purpose; and the agent's last audible packet before it fell silent for it.
    is_barge_in: bool = False
    yielded_at_ns: int | None = None
    transcripts: list[UserTranscript] = field(default_factory=list)
    agent_text: dict[str, list[str]] = field(default_factory=dict)
    stages: StageTimes | None = None
    network_ms: float | None = None
    lost_at_end: int = 0
    lost_packets: int = 0

    @property
    def yield_ms(self) -> float | None:
        """How long the agent spoke on over a barge-in; None = it was none, or the agent never fell silent."""
        if self.yielded_at_ns is None or self.started_at_ns is None or self.yielded_at_ns < self.started_at_ns:
            # It had come to its end before anybody spoke over it.
            return None
        return ms_between(self.started_at_ns, self.yielded_at_ns)

    def hear(self, transcript: UserTranscript) -> None:
        """Take what the STT returned; a later text of the same segment replaces the earlier one."""
        if transcript.segment:
            self.transcripts = [t for t in self.transcripts if t.segment != transcript.segment]
        self.transcripts.append(transcript)

    @property
    def hypothesis(self) -> str | None:
        """All that the STT returned, None for nothing."""
        return " ".join(t.text.strip() for t in self.transcripts) or None

    @property
    def is_answered(self) -> bool:
        """Whether the agent answered, after the user's end or over it."""
        return self.onset_at_ns is not None or self.answered_early

    @property
    def false_endpoint(self) -> bool:
        """Whether the agent cut in; in a turn out of step it may as well have been late."""
        return self.overlapped and not self.out_of_step

    def _heard_after_ms(self) -> float | None:
        if self.heard_at_ns is None or self.ended_at_ns is None:
            return None
        return ms_between(self.ended_at_ns, self.heard_at_ns)

    def record(
        self, plan: CallPlan, spoken: Spoken, *, codec: str, transport: str, transcript_channel: str | None
    ) -> TurnRecord:
        """Return the turn's row; a turn that the operator or the engine cut is marked so by whoever cut it."""
        ttfb_ms = None
        if self.onset_at_ns is not None and self.ended_at_ns is not None:
            ttfb_ms = ms_between(self.ended_at_ns, self.onset_at_ns)
        return TurnRecord(
            call_id=plan.call_id,
            turn=self.number,
            attempt=self.attempt,
            caller=plan.caller,
            utterance_id=self.planned.utterance_id,
            reference=spoken.transcript,
            accent=spoken.accent,
            native=spoken.native,
            noise=spoken.noise,
            snr_db=spoken.snr_db,
            vocabulary=spoken.vocabulary,
            utterance_ms=spoken.duration_ms,
            codec=codec,
            speech_started_at_ns=self.started_at_ns or 0,
            speech_ended_at_ns=self.ended_at_ns,
            onset_at_ns=self.onset_at_ns,
            ttfb_ms=ttfb_ms,
            heard_at_ns=self.heard_at_ns,
            heard_ttfb_ms=self._heard_after_ms(),
            censored=self.censored,
            waited_ms=self.waited_ms,
            false_endpoint=self.false_endpoint,
            cut=False,
            agent_speech_ended_at_ns=self.agent_stopped_at_ns,
            hypothesis=self.hypothesis,
            transcript_channel=transcript_channel,
            agent_text=next((" ".join(self.agent_text[s]) for s in TEXT_SOURCES if s in self.agent_text), None),
            stages=self.stages,
            network_ms=self.network_ms,
            lost_packets=self.lost_packets,
            out_of_step=self.out_of_step,
            is_barge_in=self.is_barge_in,
            yield_ms=self.yield_ms,
            tags=dict(spoken.segments),
            entities=spoken.entities,
            target=plan.target.name,
            transport=transport,
        )
