"""A language model that its first request begins: who waits, what a failure leaves, and which options mean it."""

import asyncio
from contextlib import aclosing

import pytest

from harness.model.errors import ScenarioError
from target_stack import __main__ as command
from target_stack.config import config_from
from target_stack.stages.cold_llm import ColdLlm
from target_stack.stages.llm import LlmError, ScriptedLlm
from target_stack.stages.llm_server import LlmServerError
from target_stack.stages.prompt import Message

pytestmark = pytest.mark.unit

HISTORY = [Message("user", "hello")]


def parsed(*words):
    return config_from(command.parser({}).parse_args(["up", *words]), {})


async def reply(llm):
    async with aclosing(llm.stream(HISTORY)) as pieces:
        return "".join([piece async for piece in pieces]).strip()


class Server:
    """Counts how often it was begun; loaded once told so."""

    def __init__(self, *failures):
        self.begun, self.failures = 0, list(failures)
        self.loaded = asyncio.Event()

    async def wake(self):
        self.begun += 1
        await self.loaded.wait()
        if self.failures:
            raise self.failures.pop()


def test_the_first_request_begins_it_and_all_wait_for_one_load():
    async def main():
        server = Server()
        llm = ColdLlm(ScriptedLlm(["well met"]), server.wake)
        before = (server.begun, llm.is_loaded)
        asked = [asyncio.create_task(reply(llm)) for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting = (server.begun, llm.is_loaded, any(task.done() for task in asked))
        server.loaded.set()
        return before, waiting, await asyncio.gather(*asked), llm.is_loaded, await reply(llm), server.begun

    before, waiting, replies, is_loaded, later, begun = asyncio.run(main())
    assert before == (0, False)
    assert waiting == (1, False, False)
    assert replies == ["well met"] * 3
    assert (is_loaded, later, begun) == (True, "well met", 1)


def test_a_caller_who_goes_does_not_stop_the_load():
    async def main():
        server = Server()
        llm = ColdLlm(ScriptedLlm(["well met"]), server.wake)
        gone = asyncio.create_task(reply(llm))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        server.loaded.set()
        return await reply(llm), server.begun

    assert asyncio.run(main()) == ("well met", 1)


@pytest.mark.parametrize("failure", [LlmServerError("no memory"), OSError("no memory")])
def test_a_load_that_fails_is_the_requests_error_and_is_tried_again(failure):
    async def main():
        server = Server(failure)
        server.loaded.set()
        llm = ColdLlm(ScriptedLlm(["well met"]), server.wake)
        with pytest.raises(LlmError, match="no memory"):
            await reply(llm)
        return llm.is_loaded, await reply(llm), server.begun

    assert asyncio.run(main()) == (False, "well met", 2)


def test_those_whose_load_failed_try_again_with_one_load():
    async def persistent(llm):
        with pytest.raises(LlmError, match="no memory"):
            await reply(llm)
        return await reply(llm)

    async def main():
        server = Server(LlmServerError("no memory"))
        server.loaded.set()
        llm = ColdLlm(ScriptedLlm(["well met"]), server.wake)
        return await asyncio.gather(*(persistent(llm) for _ in range(3))), server.begun

    assert asyncio.run(main()) == (["well met"] * 3, 2)


def test_closing_gives_up_loading():
    async def main():
        server = Server()
        llm = ColdLlm(ScriptedLlm(["well met"]), server.wake)
        await llm.aclose()
        asked = asyncio.create_task(reply(llm))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await llm.aclose()
        await asyncio.gather(asked, return_exceptions=True)
        return asked.cancelled() or asked.exception() is not None, llm.is_loaded

    assert asyncio.run(main()) == (True, False)


@pytest.mark.parametrize(
    ("words", "is_cold"),
    [
        ([], False),
        (["--cold-start", "start"], False),
        (["--cold-start", "first"], True),
        (["--profile", "emulated", "--cold-start", "first"], False),
    ],
)
def test_cold_start_first_is_for_the_local_model(words, is_cold):
    assert parsed(*words).llm.is_cold is is_cold


@pytest.mark.parametrize("words", [["--llm", "scripted"], ["--llm-url", "http://127.0.0.1:1"]])
def test_a_model_that_is_not_ours_cannot_be_cold(words):
    with pytest.raises(ScenarioError, match="--cold-start first: not with"):
        parsed("--cold-start", "first", *words)


def test_an_unknown_word_is_refused():
    with pytest.raises(ScenarioError, match="--cold-start warm: legal: none, start, first"):
        parsed("--cold-start", "warm")
