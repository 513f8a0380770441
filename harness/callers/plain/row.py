"""A call among many that are alike: what is its own."""

from dataclasses import replace
from typing import NamedTuple

from harness.model.plan import CallPlan, Persona


class Row(NamedTuple):
    """As it comes over the engine's wire (harness/engine/wire.py)."""

    call_id: str
    ordinal: int
    due_ms: float | None
    # None = now.
    due_at_ns: int | None
    # Of harness.model.plan.Persona, in its order.
    persona: tuple[str, str, str, str, str]
    seed: int
    story: int | None

    def plan(self, alike: CallPlan) -> CallPlan:
        """Return the call's plan, `alike` being one that it differs from in nothing else."""
        return replace(
            alike,
            call_id=self.call_id,
            index=self.ordinal,
            due_ms=self.due_ms,
            persona=Persona(*self.persona),
            seed=self.seed,
            story=self.story,
        )
