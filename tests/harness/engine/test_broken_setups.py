"""WebRTC calls whose set-up is broken on purpose fail as that; the one beside them, which is spared, is held."""

from dataclasses import replace

import pytest
from engine_bench import bench_clips, engine, plan, responder, write_wav_corpus

from harness.faults.catalogue import KINDS
from harness.model.codec import to_json
from harness.model.fault import Fault, FaultFilter

pytestmark = [pytest.mark.loopback, pytest.mark.timeout(400)]

WAYS = {"blocked": ("caller.ice_failure", {"how": "blocked_udp"}), "forged": ("caller.dtls_failure", {})}


def test_each_failure_has_its_cause(tmp_path):
    corpus = write_wav_corpus(tmp_path / "corpus", bench_clips())
    with responder(tmp_path / "truth", "--delay-ms", "300:300") as (url, _process), engine(tmp_path, corpus) as bench:
        for name, (kind, parameters) in WAYS.items():
            chosen = FaultFilter(callers=(name,))
            bench.send(
                "fault", fault=to_json(Fault(name, kind, KINDS[kind].where, parameters=parameters, filter=chosen))
            )
        for name in [*WAYS, "spared"]:
            bench.place(replace(plan(url, name, ["voiced-b"], connect_timeout_ms=4_000), caller=name))
        bench.drain()
        for name in WAYS:
            bench.send("end_fault", name=name)
        bench.until(lambda _: sum(m["is_over"] for m in bench.of("fault")) == len(WAYS))
        evidence = {m["name"]: m["evidence"] for m in bench.of("fault") if m["is_over"]}
        assert bench.stop() == 0
    causes = {name: call["cause"] for name, call in bench.calls.items()}
    assert (causes["blocked"], causes["spared"]) == ("ice_failed", "none")
    # Who refuses a certificate after the handshake, as this agent, is heard no more; who does before fails it.
    assert causes["forged"] in {"dtls_failed", "media_lost", "agent_hung_up"}
    assert bench.calls["forged"]["turns_answered"] == 0
    assert {name: told["touched"] for name, told in evidence.items()} == {"blocked": 1, "forged": 1}
