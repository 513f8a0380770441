"""What compliance counts. Labels are ours and few: no region, caller or text."""

from collections import Counter
from dataclasses import dataclass, field

from target_stack.telemetry.exposition import by, counter, gauge


@dataclass
class ComplianceCounts:
    """Everything since start-up; touched on the event loop only."""

    calls: int = 0
    # AI disclosures: "played" to the last packet, "not_played" when the call ended first or nothing could be heard.
    disclosures: Counter[str] = field(default_factory=Counter)
    # Questions by what came of them: given, refused, unanswered; and "withdrawn" later.
    consents: Counter[str] = field(default_factory=Counter)
    # Calls by what was done: processed, recorded, transcribed, declined.
    activities: Counter[str] = field(default_factory=Counter)
    # Calls deleted, by reason; "failed" stays for the next sweep.
    deletions: Counter[str] = field(default_factory=Counter)
    # Half-second blocks of audio not kept because the disk was too slow.
    lost_blocks: int = 0

    @property
    def consent_ratio(self) -> float | None:
        """Yes per question put; None while none was."""
        asked = sum(self.consents[result] for result in ("given", "refused", "unanswered"))
        return self.consents["given"] / asked if asked else None

    @property
    def disclosure_ratio(self) -> float | None:
        """Disclosures played per call that was to have one; None while none was."""
        due = sum(self.disclosures.values())
        return self.disclosures["played"] / due if due else None


def render_compliance(counts: ComplianceCounts) -> str:
    """Return it as Prometheus text; a ratio has no sample until there is something to divide by."""
    return "".join(
        (
            counter("compliance_calls", "Calls under compliance rules.", [({}, counts.calls)]),
            counter("compliance_disclosures", "AI disclosures by whether heard.", by("result", counts.disclosures)),
            counter("compliance_consents", "Questions for consent by answer.", by("result", counts.consents)),
            counter("compliance_activities", "Calls by what was done.", by("activity", counts.activities)),
            counter("compliance_deletions", "Calls deleted by reason.", by("reason", counts.deletions)),
            counter("compliance_lost_blocks", "Audio blocks not kept: slow disk.", [({}, counts.lost_blocks)]),
            _ratio("compliance_consent_ratio", "Yes per question.", counts.consent_ratio),
            _ratio("compliance_disclosure_ratio", "Disclosures heard per call due one.", counts.disclosure_ratio),
        )
    )


def _ratio(name: str, text: str, ratio: float | None) -> str:
    return gauge(name, text, [] if ratio is None else [({}, ratio)])
