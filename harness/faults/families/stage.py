"""Stages of the bundled agent that are slow, hang, fail, or give nothing; carried out by its admin API."""

import os
import secrets

from harness.faults.admin_client import LEASE_S, AdminFault
from harness.faults.effect import Effect, Means, need_admin
from harness.faults.kind import Kind
from harness.faults.parameter import Parameter, choice, number, whole
from harness.model.fault import Direction, Fault, Symptom, Where

STAGES = ("stt", "llm", "tts")
STAGE = choice("stage", "which stage", STAGES)
NEEDS = "the bundled agent's admin API (`callquake up`)"
REVERTS = "the target forgets it when told, and by itself 10 s after whoever injected it is gone"
_SLOWER = Symptom("ttfb_ms p95", Direction.UP, 200)
_UNANSWERED = Symptom("response_ratio", Direction.DOWN, 0.1)


def make(fault: Fault, means: Means) -> Effect:
    """Return the fault as the target's admin API carries it out."""
    # Two runs against one target must not take each other's fault for their own.
    admin = need_admin(means, fault)
    # A process's number alone is the same in every container.
    return AdminFault(fault, admin, f"{fault.name}.{os.getpid()}.{secrets.token_hex(3)}", means.lease_s or LEASE_S)


def target_kind(
    name: str,
    about: str,
    parameters: tuple[Parameter, ...],
    evidence: str,
    symptoms: tuple[Symptom, ...] = (),
    *,
    share: bool = True,
    needs: str = NEEDS,
) -> Kind:
    """Return a kind that the bundled agent carries out."""
    return Kind(
        name=name,
        where=Where.TARGET,
        about=about,
        parameters=parameters,
        evidence=evidence,
        reverts=REVERTS,
        make=make,
        needs=needs,
        symptoms=symptoms,
        filters=("share",) if share else (),
    )


KINDS = (
    target_kind(
        "stage.delay",
        "each request of a stage waits before its work, as behind a slow hop",
        (
            STAGE,
            number("delay_ms", "how long", high=600_000),
            number("jitter_ms", "to either side of it, drawn anew for each request", 0.0, high=600_000),
        ),
        "requests delayed, and by how much in all",
        (_SLOWER,),
    ),
    target_kind(
        "stage.slow",
        "each request's work takes longer by a factor, as on a throttled processor or a crowded GPU",
        (STAGE, number("factor", "how many times as long", low=1, high=1_000)),
        "requests slowed, and by how much in all",
        (_SLOWER,),
    ),
    target_kind(
        "stage.stall",
        "requests of a stage hang until the fault is over",
        (STAGE,),
        "requests held",
        (_UNANSWERED,),
    ),
    target_kind(
        "stage.error",
        "requests of a stage fail, as by a server that answers with an error",
        (STAGE, whole("status", "the HTTP status it stands for", 500, low=400, high=599)),
        "requests failed",
    ),
    target_kind(
        "stage.empty",
        "requests of a stage succeed and give nothing: no words, no text, no sound",
        (STAGE,),
        "requests answered with nothing",
    ),
    target_kind(
        "stage.rate_limit",
        "requests of a stage beyond a rate are refused with 429, as by a hosted API",
        (
            STAGE,
            number("per_minute", "requests let through in the long run", low=0.001, high=1e6),
            whole("burst", "requests let through at once", 1, low=1),
            number("retry_after_s", "what the refusal says of when to come again; 0 = nothing", 1.0, high=3_600),
        ),
        "requests refused with 429",
    ),
    target_kind(
        "stage.saturation",
        "requests of nobody's keep a stage busy, so that callers' requests wait behind them in its queue",
        (STAGE, whole("jobs", "how many at once, all the time", low=0, high=1_000)),
        "requests of nobody's that were answered or refused",
        (_SLOWER,),
        share=False,
    ),
    target_kind(
        "stage.worker_kill",
        "the process that runs a stage is killed, and started again when the fault is over",
        (STAGE,),
        "processes killed, and how long the model took to load again",
        (_UNANSWERED,),
        share=False,
        needs="a stage that is a process of the bundled agent: the local language model, or an emulated stage",
    ),
    target_kind(
        "stage.cold_start",
        "a stage's model is thrown away and really loaded anew; requests wait for it",
        (STAGE,),
        "models loaded anew, how long that took, and requests that waited",
        (_SLOWER,),
        share=False,
        needs="real models (profile cpu or gpu)",
    ),
    target_kind(
        "llm.context_overflow",
        "conversations read as if they had gone on for many tokens more",
        (whole("tokens", "about how many", high=1_000_000),),
        "prompts made longer",
        needs="a real or scripted language model; emulated replies have no context",
    ),
    target_kind(
        "target.memory_growth",
        "the agent's process takes memory step by step, as a leak does, and gives it back when the fault is over",
        (
            number("mib_per_s", "how fast", high=10_000),
            number("most_mib", "and no further", 256.0, high=65_536),
        ),
        "MiB taken, and the process's resident memory",
        share=False,
    ),
)
