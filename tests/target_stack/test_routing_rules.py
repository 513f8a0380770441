"""The router's small parts by tables: prices, bills, rate limits, breakers, waits, complexity, the routes file."""

import random
from datetime import UTC, datetime

import pytest
import yaml

from harness.model.clock import NS_PER_MS, NS_PER_S
from harness.model.errors import ScenarioError
from target_stack.retry_after import retry_after_s
from target_stack.routing.backoff import Backoff
from target_stack.routing.bill import Bill
from target_stack.routing.breaker import Breaker, BreakerRules, BreakerState
from target_stack.routing.complexity import complexity_of
from target_stack.routing.gate import LoadGate
from target_stack.routing.prices import SHIPPED, read_prices
from target_stack.routing.routes import OWN, read_routes
from target_stack.routing.token_bucket import TokenBucket
from target_stack.stages.prompt import Message

pytestmark = pytest.mark.unit


def s(seconds):
    return round(seconds * NS_PER_S)


@pytest.mark.parametrize(
    ("rows", "a_minute"),
    [
        # The guide's own totals: about 0.04, 0.11 and 0.20 with telephony, 0.02 for self-hosted.
        (("gpt-4o-mini-transcribe", "gpt-4o-mini", "openai-tts-1", "twilio"), 0.038),
        (("deepgram-nova-3", "gpt-4o", "elevenlabs-flash", "twilio"), 0.1127),
        (("google-chirp-enhanced", "claude-opus", "elevenlabs-v3", "twilio"), 0.201),
        (("self-hosted-stt", "self-hosted-llm", "self-hosted-tts", "self-hosted-servers"), 0.02),
    ],
)
def test_the_shipped_prices_add_up_to_the_guides_totals(rows, a_minute):
    prices = read_prices()
    assert sum(prices[name].usd for name in rows) == pytest.approx(a_minute)
    assert all(row.source and row.as_of for row in prices.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table["rows"].append(table["rows"][0]), "in the table twice"),
        (lambda table: table["rows"][0].update(source="hearsay"), "source 'hearsay'; legal: guide"),
        (lambda table: table["rows"][0].update(usd=-1), r"rows\.0\.usd: .*greater than or equal to 0"),
        (lambda table: table["rows"][0].pop("as_of"), r"rows\.0\.as_of: Field required"),
    ],
)
def test_a_bad_price_table_is_told_by_file_and_place(change, message, tmp_path):
    table = yaml.safe_load(SHIPPED.read_text())
    change(table)
    path = tmp_path / "prices.yaml"
    path.write_text(yaml.safe_dump(table))
    with pytest.raises(ScenarioError, match=message) as error:
        read_prices(path)
    assert str(path) in str(error.value)


def test_each_use_pays_for_the_conversation_that_led_to_it():
    prices = read_prices()
    bill = Bill(s(0), throughout=[prices["twilio"]])
    bill.use("tts", OWN, prices["self-hosted-tts"], s(60))
    bill.use("tts", "flash", prices["elevenlabs-flash"], s(180))
    bill.use("stt", OWN, prices["self-hosted-stt"], s(120))
    cost = bill.close(s(240))
    assert cost.minutes == 4
    assert cost.usd == pytest.approx(
        {
            ("tts", OWN): 1 * 0.0024,
            # Its own two minutes, and the one after the last use.
            ("tts", "flash"): 3 * 0.07,
            ("stt", OWN): 4 * 0.0048,
            ("telephony", "twilio"): 4 * 0.015,
        }
    )
    assert cost.by_component()["tts"] == pytest.approx(0.2124)
    assert cost.total_usd == pytest.approx(0.0024 + 0.21 + 0.0192 + 0.06)


def test_prices_by_use_and_a_component_never_used():
    prices = read_prices()
    by_audio = prices["deepgram-nova-3"].model_copy(update={"per": "audio-minute", "usd": 0.006})
    by_text = prices["elevenlabs-flash"].model_copy(update={"per": "1k-characters", "usd": 0.05})
    bill = Bill(0)
    bill.use("stt", "d", by_audio, s(5), audio_s=30)
    bill.use("tts", "e", by_text, s(6), characters=400)
    assert bill.close(s(600)).usd == pytest.approx({("stt", "d"): 0.003, ("tts", "e"): 0.02})


def test_a_bucket_lets_a_burst_through_then_its_rate():
    bucket = TokenBucket(per_minute=60, burst=3)
    assert [bucket.take(s(5)) for _ in range(4)] == [True, True, True, False]
    assert bucket.wait_ns(s(5)) == s(1)
    assert [bucket.take(s(t)) for t in (5.5, 6.0, 6.5, 7.0)] == [False, True, False, True]
    assert [bucket.take(s(600)) for _ in range(4)] == [True, True, True, False]


def test_a_provider_that_asked_to_be_left_alone_is():
    bucket = TokenBucket()
    bucket.block(s(20))
    bucket.block(s(10))
    assert not bucket.take(s(19.9))
    assert bucket.wait_ns(s(19)) == s(1)
    assert bucket.take(s(20))


def test_a_breaker_opens_probes_and_closes():
    breaker = Breaker(BreakerRules(failures=2, open_ms=1000, longest_open_ms=3000))
    breaker.failed(0)
    breaker.succeeded()
    breaker.failed(0)
    assert breaker.state(0) is BreakerState.CLOSED
    breaker.failed(0)
    assert (breaker.state(s(0.9)), breaker.allows(s(0.9)), breaker.wait_ns(s(0.9))) == (
        BreakerState.OPEN,
        False,
        s(0.1),
    )
    # One request goes through to see; a second has to wait for what becomes of it.
    assert breaker.allows(s(1))
    breaker.begin(s(1))
    assert (breaker.state(s(1)), breaker.allows(s(1))) == (BreakerState.HALF_OPEN, False)
    # A late failure of a request from before says nothing new; the probe's own doubles the time.
    breaker.failed(s(1.1))
    assert breaker.wait_ns(s(1.1)) == s(2)
    breaker.begin(s(3.1))
    breaker.withdrew()
    assert breaker.allows(s(3.1))
    breaker.begin(s(3.1))
    breaker.failed(s(3.1))
    assert breaker.wait_ns(s(3.1)) == s(3)
    breaker.begin(s(6.1))
    breaker.succeeded()
    assert breaker.state(s(6.1)) is BreakerState.CLOSED


def test_a_failure_from_before_it_opened_does_not_prolong_it():
    breaker = Breaker(BreakerRules(failures=1, open_ms=1000))
    breaker.failed(0)
    breaker.failed(s(0.5))
    assert breaker.wait_ns(s(0.5)) == s(0.5)


def test_a_breaker_may_be_told_never_to_open():
    breaker = Breaker(BreakerRules(failures=0))
    for _ in range(100):
        breaker.failed(0)
    assert breaker.allows(0)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7),
        (" 0 ", 0),
        ("1.5", 1.5),
        ("999999", 3600),
        ("Mon, 23 Nov 2026 12:00:30 GMT", 30),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0),
        ("soon", None),
        ("-3", None),
        ("", None),
        ("9" * 400, 3600),
    ],
)
def test_retry_after_is_seconds_or_a_date(header, seconds):
    assert retry_after_s(header, datetime(2026, 11, 23, 12, tzinfo=UTC)) == seconds


def test_waits_grow_are_bounded_and_spread():
    backoff, rng = Backoff(first_ms=100.0, longest_ms=1000.0), random.Random(4)
    for attempt, bound in ((0, 100), (1, 200), (3, 800), (10, 1000), (1024, 1000), (10**6, 1000)):
        waits = [backoff.delay_ms(attempt, rng) for _ in range(400)]
        assert 0 <= min(waits) < bound * 0.05
        assert bound * 0.95 < max(waits) <= bound


def test_the_gate_does_not_flap_between_its_marks():
    gate = LoadGate(0.8, 0.7)
    loads = (0.0, 0.79, 0.8, 0.79, 0.7, 0.69, 0.79, 1.0, 0.75, 0.5)
    assert [gate.admits(load) for load in loads] == [True, True, False, False, False, True, True, False, False, True]
    with pytest.raises(ValueError, match="return_below <= overflow_at"):
        LoadGate(0.7, 0.8)


@pytest.mark.parametrize(
    ("asked", "complexity"),
    [
        ("Yes, please.", "simple"),
        ("My order number is 4592.", "simple"),
        ("Why is my bill higher this month?", "medium"),
        ("Can you explain the difference between both plans, because I travel a lot?", "medium"),
        (" ".join(["Well"] * 20 + ["if I pay now, explain why it is more"]), "complex"),
        ("Is it open? And is there parking?", "medium"),
    ],
)
def test_complexity_of_a_turn(asked, complexity):
    assert complexity_of([Message("assistant", "Hello."), Message("user", asked)]) == complexity


def routes(tmp_path, text):
    path = tmp_path / "routes.yaml"
    path.write_text(text)
    return read_routes(path)


def test_without_a_file_there_is_our_own_only():
    own = read_routes(None)
    assert {stage: route.others for stage, route in own.stages.items()} == {"stt": (), "llm": (), "tts": ()}
    assert own.priced["tts"][OWN].usd == 0.0024


def test_a_routes_file(tmp_path):
    read = routes(
        tmp_path,
        """
        tts:
          own: {capacity: 10}
          others: [{name: flash, url: standin, price: elevenlabs-flash, per_minute: 60, standin: {latency_ms: 5}}]
        llm:
          own: {capacity: 4, for: [simple]}
          others: [{name: big, url: "https://llm.example/v1", price: gpt-4o, key_env: BIG_KEY}]
        """,
    )
    assert read.stages["tts"].own.capacity == 10
    assert read.stages["tts"].others[0].standin.latency_ms == 5
    assert read.priced["llm"]["big"].usd == 0.02
    assert read.stages["llm"].own.for_ == ("simple",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tts: {own: {capacity: 0}}", r"routes.yaml: tts\.own\.capacity: .*greater than or equal to 1"),
        (
            "tts: {others: [{name: a, url: ftp://x, price: twilio}]}",
            "url 'ftp://x': must be standin, or begin with http",
        ),
        (
            "tts: {others: [{name: a, url: standin, price: twilio}]}",
            "tts.others.a: price 'twilio': no such row for tts",
        ),
        ("llm: {own: {for: [hard]}}", "llm.own.for.0"),
        ("throughout: [taxi]", "throughout: price 'taxi'"),
        ("overflow_at: 0.5", "return_below must not be above overflow_at"),
        ("sst: {}", "sst: Extra inputs"),
        ("[1, 2]", "valid dictionary"),
        ("tts: {others: [{name: self-hosted, url: standin, price: openai-tts-1}]}", "the name self-hosted is our own"),
        ("a: [", "while parsing"),
    ],
)
def test_a_bad_routes_file_is_told_by_place(text, message, tmp_path):
    with pytest.raises(ScenarioError, match=message):
        routes(tmp_path, text)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ScenarioError, match=r"nowhere\.yaml"):
        read_routes(tmp_path / "nowhere.yaml")


def test_milliseconds_are_nanoseconds_here():
    assert s(0.001) == NS_PER_MS
