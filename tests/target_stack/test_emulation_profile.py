"""`up --profile emulated`: its options, what it says of itself, and a call through the whole stack."""

import asyncio
import pickle

import pytest
from recording_sink import PlayingSink, silence, speak_in_real_time, tone

from harness.model.errors import ScenarioError
from target_stack.__main__ import main, parser
from target_stack.config import config_from
from target_stack.edge.health import health_of
from target_stack.emulation.service_times import GUIDE
from target_stack.frames import StageFailed, Transcript, TurnTiming
from target_stack.profiles import PROFILES, settle
from target_stack.telemetry.events import TurnFinished

pytestmark = pytest.mark.loopback


def parsed(*arguments, environment=None):
    environment = environment or {}
    return config_from(parser(environment).parse_args(["up", *arguments]), environment)


def test_each_profile_has_a_default_for_every_option_that_depends_on_it():
    options = parser({}).parse_args(["up"])
    names = set().union(*map(set, PROFILES.values()))
    for profile, defaults in PROFILES.items():
        assert set(defaults) == names, profile
    for name in names:
        assert getattr(options, name) is None
    assert settle(options).stt_workers == 1
    options.stt_workers = 3
    assert settle(options).stt_workers == 3


def test_the_file_says_how_many_servers_there_are_unless_an_option_does():
    plain = parsed("--profile", "emulated").emulation
    assert (plain.servers.stt_slots, plain.servers.tts_replicas, plain.servers.waiting) == (0, 0, 0)
    told = parsed("--profile", "emulated", "--stt-workers", "3", "--tts-batch", "1", "--llm-slots", "5")
    assert (told.emulation.servers.stt_slots, told.emulation.servers.tts_batch) == (3, 1)
    assert told.emulation.servers.llm_slots == 5
    assert (told.vad, told.profile) == ("level", "emulated")
    assert parsed("--profile", "emulated", "--vad", "silero").vad == "silero"
    assert parsed(environment={"CALLQUAKE_PROFILE": "emulated", "CALLQUAKE_EMULATION_SEED": "7"}).emulation
    # It travels to media-server processes.
    assert pickle.loads(pickle.dumps(told)) == told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--service-times", "nowhere.yaml"], r"nowhere\.yaml: .*No such file"),
        (["--cold-start", "warm"], "--cold-start warm: legal: none, start, first"),
        (["--llm-slots", "5000"], "--llm-slots 5000: must be 1 to 4096"),
        (["--vad", "ears"], "--vad ears: legal: silero, level"),
        (["--stt-workers", "65"], "--stt-workers 65: must be 0 to 64"),
        (["--llm-url", "http://h:1"], "--llm-url: not with --profile emulated"),
        (["--llm", "scripted"], "--llm scripted: not with --profile emulated"),
    ],
)
def test_a_wrong_option_is_named(arguments, message):
    with pytest.raises(ScenarioError, match=message):
        parsed("--profile", "emulated", *arguments)


def test_a_file_of_ones_own_is_named_in_every_mark(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(GUIDE.read_text().replace("name: guide", "name: my-laptop"))
    emulation = parsed("--profile", "emulated", "--service-times", str(file)).emulation
    assert emulation.marks[0] == "target: emulated (service times from my-laptop)"
    assert all("my-laptop" in mark for mark in emulation.marks)
    assert all("my-laptop" in text for text in emulation.descriptions.values())


def test_show_prints_the_figures(capsys, tmp_path):
    assert main(["stages", "show"]) == 0
    shown = capsys.readouterr().out
    assert "guide" in shown
    assert "slots: stt 8, llm 32, tts 1 of 8" in shown
    assert main(["stages", "show", "guide"]) == 0
    assert capsys.readouterr().out == shown
    assert main(["stages", "show", str(tmp_path / "none.yaml")]) == 104
    assert main(["stages", "measure", "--out", str(tmp_path / "x.yaml"), "--profile", "emulated"]) == 104
    assert "has no real stages" in capsys.readouterr().err
    # Before minutes of measuring.
    for out in (tmp_path, tmp_path / "none" / "x.yaml"):
        assert main(["stages", "measure", "--out", str(out)]) == 104
        assert f"--out {out}: cannot be written" in capsys.readouterr().err


class Agent:
    """A whole stack without its network, and one call into it."""

    def __init__(self, *arguments):
        from target_stack.app import Stack

        self.stack = Stack(parsed("--profile", "emulated", *arguments))

    async def __aenter__(self):
        await self.stack.load()
        return self

    async def __aexit__(self, *_):
        await self.stack.aclose()

    async def turn(self):
        """Have one call say something and hear the answer; return what it was told."""
        sink = PlayingSink()
        session = sink.session = self.stack.new_session("call", sink)
        await session.start()
        try:
            await sink.until_played(0)
            await asyncio.sleep(0)
            sink.session.playout_drained(0, 1)
            await speak_in_real_time(session, silence(100))
            await speak_in_real_time(session, tone(600))
            await speak_in_real_time(session, silence(900))
            await sink.until_told(TurnTiming)
            return sink
        finally:
            await session.aclose()


def test_a_call_is_answered_and_no_word_of_it_is_told_as_a_transcript():
    async def scenario():
        # Else the work is done while the caller's pause is waited out, and no wait shows it.
        async with Agent("--overlap", "off") as agent:
            sink = await agent.turn()
            # Each stage is a process to the faults that kill one.
            assert set(agent.stack.chaos.parts.servers) == {"stt", "llm", "tts"}
            finished = [e for e in agent.stack.events.recent if isinstance(e, TurnFinished)]
            return sink, agent.stack.readiness(), finished, agent.stack.stats

    sink, readiness, (turn,), stats = asyncio.run(scenario())
    assert sink.spoken(1)
    assert not sink.told(Transcript)
    assert not sink.told(StageFailed)
    assert stats.turns == {"answered": 1}
    assert turn.timing.llm_ms > 50
    assert turn.transcript_words == 0
    assert readiness.ready
    health = health_of(readiness, active_calls=0, max_calls=1)
    assert health["profile"] == "emulated"
    assert health["simulated"][0] == "target: emulated (service times from guide)"


def test_a_cold_start_holds_up_the_start_or_the_first_call(tmp_path):
    file = tmp_path / "quick.yaml"
    file.write_text(GUIDE.read_text().replace("[[0, 5000], [1, 10000]]", "[[0, 300], [1, 300]]"))

    async def load(word):
        began = asyncio.get_running_loop().time()
        async with Agent("--overlap", "off", "--service-times", str(file), "--cold-start", word) as agent:
            took = asyncio.get_running_loop().time() - began
            sink = await agent.turn()
            return took, sink.told(TurnTiming)[0]

    took, _ = asyncio.run(load("start"))
    assert took >= 0.3
    _, cold = asyncio.run(load("first"))
    assert cold.llm_ttft_ms >= 300
