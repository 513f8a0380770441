"""The batch queue on an event loop: whatever happens, each asker gets its own audio or an error, once."""

import asyncio
import gc
from contextvars import ContextVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_loop import now_ns, run_virtually

from target_stack.pipeline.batch_queue import BatchRules, Refusal
from target_stack.pipeline.batch_runner import BatchRefusedError, BatchRunner, BatchShapeError
from target_stack.telemetry.batch_stats import BatchStats, render_batches

pytestmark = pytest.mark.unit


class Model:
    """Works through a script of (seconds, outcome), the last for ever; "audio of" a text is its answer."""

    def __init__(self, *script):
        self.script = list(script) or [(0.1, "ok")]
        self.batches = []
        self.running = 0

    async def __call__(self, texts):
        seconds, outcome = self.script[min(len(self.batches), len(self.script) - 1)]
        self.batches.append(tuple(texts))
        self.running += 1
        assert self.running == 1, "a replica got two batches at once"
        try:
            await asyncio.sleep(seconds)
        finally:
            self.running -= 1
        audio = [f"audio of {text}" for text in texts]
        match outcome:
            case "ok":
                return audio
            case "raise":
                raise RuntimeError("out of memory")
            case "short":
                return audio[:-1]
            case "first fails":
                return [ValueError(f"cannot say {texts[0]}"), *audio[1:]]


def runner(*models, **rules):
    rules = BatchRules(**{"size": 4, "replicas": len(models)} | rules)
    return BatchRunner("tts", rules, models, BatchStats(), now=now_ns)


def test_askers_share_a_batch_and_each_is_told_its_wait_and_work():
    async def main():
        model = Model((0.2, "ok"))
        queue = runner(model)
        first = asyncio.create_task(queue.ask("a"))
        await asyncio.sleep(0.03)
        second = await queue.ask("b")
        await queue.aclose()
        return await first, second, model.batches, queue.stats

    first, second, batches, stats = run_virtually(main())
    assert batches == [("a", "b")]
    assert (first.value, round(first.queue_ms), round(first.work_ms), first.batch_size) == ("audio of a", 50, 200, 2)
    assert (second.value, round(second.queue_ms)) == ("audio of b", 20)
    assert (stats.sizes, stats.endings, stats.waits.count) == ({2: 1}, {"answered": 2}, 2)


@pytest.mark.parametrize(
    ("outcome", "error", "message"),
    [("raise", RuntimeError, "out of memory"), ("short", BatchShapeError, "tts: 0 results for 1 requests")],
)
def test_a_batch_that_always_fails_fails_each_by_itself(outcome, error, message):
    async def main():
        queue = runner(Model((0.1, outcome)))
        answers = await asyncio.gather(*(queue.ask(text) for text in "ab"), return_exceptions=True)
        await queue.aclose()
        return answers, queue.stats

    answers, stats = run_virtually(main())
    assert [(type(answer), str(answer)) for answer in answers] == [(error, message)] * 2
    assert (stats.failed_batches, stats.sizes, stats.endings) == (3, {2: 1, 1: 2}, {"failed": 2})


def test_one_item_of_a_batch_may_fail_alone():
    async def main():
        queue = runner(Model((0.1, "first fails")))
        answers = await asyncio.gather(*(queue.ask(text) for text in "abc"), return_exceptions=True)
        await queue.aclose()
        return answers

    bad, *good = run_virtually(main())
    assert str(bad) == "cannot say a"
    assert [answer.value for answer in good] == ["audio of b", "audio of c"]


def test_a_refusal_says_why_and_when_there_is_room():
    async def main():
        queue = runner(Model((2.0, "ok")), size=1, waiting=1, deadline_ms=5000)
        await queue.ask("warm-up")
        first = [asyncio.create_task(queue.ask(text)) for text in "ab"]
        await asyncio.sleep(0)
        with pytest.raises(BatchRefusedError) as full:
            await queue.ask("c")
        done = [(await answer).value for answer in first]
        await queue.aclose()
        with pytest.raises(BatchRefusedError, match="closed"):
            await queue.ask("d")
        return full.value, done

    refused, done = run_virtually(main())
    assert (refused.reason, refused.retry_after_ms) == (Refusal.SATURATED, 2000)
    assert str(refused) == "tts: refused (saturated); room in about 2000 ms"
    assert done == ["audio of a", "audio of b"]


def test_who_hangs_up_leaves_the_queue_or_its_place_in_the_batch():
    async def main():
        model = Model((1.0, "ok"))
        queue = runner(model, size=2, wait_ms=0)
        asked = [asyncio.create_task(queue.ask(text)) for text in "abc"]
        await asyncio.sleep(0.5)
        # "a" is alone in the batch that runs; the others wait for the next.
        asked[0].cancel()
        asked[2].cancel()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        await queue.aclose()
        return answers, model.batches, queue.stats.endings

    answers, batches, endings = run_virtually(main())
    assert [type(answers[0]), answers[1].value, type(answers[2])] == [
        asyncio.CancelledError,
        "audio of b",
        asyncio.CancelledError,
    ]
    assert batches == [("a",), ("b",)]
    assert endings == {"cancelled running": 1, "cancelled waiting": 1, "answered": 1}


def test_closing_answers_everyone_and_leaves_no_task():
    async def main():
        queue = runner(Model((3600.0, "ok")), size=1)
        asked = [asyncio.create_task(queue.ask(text)) for text in "abc"]
        await asyncio.sleep(0.1)
        await queue.aclose()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        return answers, asyncio.all_tasks() - {asyncio.current_task()}

    answers, left = run_virtually(main())
    assert [answer.reason for answer in answers] == [Refusal.CLOSED] * 3
    assert left == set()


def test_a_batch_runs_in_the_context_of_no_call():
    scope = ContextVar("scope", default="none")
    seen = []

    async def model(texts):
        seen.append(scope.get())
        return texts

    async def main():
        queue = runner(model)
        scope.set("call 1")
        await queue.ask("a")
        await queue.aclose()

    run_virtually(main())
    assert seen == ["none"]


def test_replicas_must_match_the_rules():
    with pytest.raises(ValueError, match="tts: 1 replicas, but rules for 2"):
        BatchRunner("tts", BatchRules(replicas=2), [Model()], BatchStats())


def test_metrics_name_queue_size_and_ending():
    stats = BatchStats(replicas=2, depth=3)
    stats.sizes[8] += 5
    stats.endings["refused saturated"] += 1
    text = render_batches({"tts": stats})
    assert 'callquake_batch_waiting{queue="tts"} 3\n' in text
    assert 'callquake_batches_total{queue="tts",size="8"} 5\n' in text
    assert 'callquake_batch_requests_total{queue="tts",ending="refused saturated"} 1\n' in text
    assert 'callquake_batch_wait_seconds_count{queue="tts"} 0\n' in text
    assert render_batches({}) == ""


OUTCOMES = st.sampled_from(["ok", "ok", "ok", "raise", "short", "first fails"])
SECONDS = st.sampled_from([0.0, 0.01, 0.05, 0.3, 3.0, 20.0])
ASKER = st.tuples(
    # When it asks, since how long its caller waits, after how long it gives up (None: never).
    st.sampled_from([0.0, 0.0, 0.01, 0.05, 0.1, 0.35, 1.0]),
    st.sampled_from([None, 0.0, 0.4]),
    st.sampled_from([None, None, None, 0.0, 0.02, 0.05, 0.2]),
)


@settings(max_examples=120)
@given(
    askers=st.lists(ASKER, min_size=1, max_size=14),
    scripts=st.lists(st.lists(st.tuples(SECONDS, OUTCOMES), min_size=1, max_size=6), min_size=1, max_size=3),
    size=st.integers(1, 4),
    waiting=st.integers(1, 8),
)
def test_each_asker_gets_its_own_audio_or_an_error_once_and_in_time(askers, scripts, size, waiting):
    unraised = []

    async def ask(queue, number, after_s, waited_s, patience_s):
        await asyncio.sleep(after_s)
        since = None if waited_s is None else now_ns() - round(waited_s * 1e9)
        asked_at = now_ns()
        try:
            async with asyncio.timeout(patience_s):
                answer = await queue.ask(f"text {number}", since_ns=since)
        except TimeoutError:
            assert patience_s is not None
            return "gave up"
        except (BatchRefusedError, RuntimeError, BatchShapeError, ValueError) as error:
            if isinstance(error, ValueError) and str(error) != f"cannot say text {number}":
                return "another's error"
            return "refused" if isinstance(error, BatchRefusedError) else "failed"
        finally:
            assert now_ns() - asked_at <= 2_000_000_001, "answered after its deadline"
        assert answer.value == f"audio of text {number}"
        return "answered"

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, told: unraised.append(told))
        models = [Model(*script) for script in scripts]
        queue = runner(*models, size=size, waiting=waiting, deadline_ms=2000)
        endings = await asyncio.gather(*(ask(queue, n, *asker) for n, asker in enumerate(askers)))
        await queue.aclose()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return endings, queue.stats

    endings, stats = run_virtually(main())
    assert set(endings) <= {"answered", "failed", "refused", "gave up"}
    assert len(endings) == len(askers)
    # What the queue counted is what the askers saw; one that gave up just as it was answered is counted as answered.
    assert stats.endings.total() == len(askers)
    assert stats.endings["failed"] >= endings.count("failed")
    assert stats.endings["answered"] >= endings.count("answered")
    assert (stats.depth, stats.in_batches, stats.busy_replicas >= 0) == (0, 0, True)
    gc.collect(0)
    assert unraised == []
