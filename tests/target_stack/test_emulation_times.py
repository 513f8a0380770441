"""Service times: the file, the draws, how work and company become milliseconds; who may begin. Pure."""

import random
import statistics

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.model.errors import ScenarioError
from target_stack.emulation.admission import Admission, AdmissionRules
from target_stack.emulation.seeded import quantile, uniform
from target_stack.emulation.service_times import GUIDE, Level, read_service_times
from target_stack.emulation.stage_time import batch_ms, work_ms

pytestmark = pytest.mark.unit

N = 4000


def p95(values):
    return statistics.quantiles(values, n=20)[18]


def drawn(stage):
    return (uniform(1, stage, "call", number) for number in range(N))


def test_the_guides_file_has_the_guides_percentiles():
    """200, 350 and 105 ms at P95 for an utterance of 3 s, a first sentence of 11 tokens, 45 characters."""
    times = read_service_times(None)
    stt = [work_ms(times.stt.levels, 3.0, 1, share) for share in drawn("stt")]
    llm = [
        work_ms(times.llm.levels, 120, 1, first) + work_ms(times.llm.token_levels, 11, 1, token)
        for first, token in zip(drawn("first"), drawn("token"), strict=True)
    ]
    tts = [times.tts.batch_wait_ms + work_ms(times.tts.levels, 45, 1, share) for share in drawn("tts")]
    assert p95(stt) == pytest.approx(200, rel=0.03)
    assert p95(llm) == pytest.approx(350, rel=0.05)
    assert p95(tts) == pytest.approx(105, rel=0.03)
    # "3-5x" by batches of 8.
    assert 3 <= 8 * 50 / batch_ms([50.0] * 8, times.tts.batch_factors) <= 5
    for stage in (times.stt, times.llm, times.tts):
        assert (quantile(stage.cold_start_ms, 0), quantile(stage.cold_start_ms, 1)) == (5000, 10_000)


def test_a_draw_follows_from_its_key_alone_and_fills_the_range_evenly():
    values = list(drawn("stt"))
    assert values == list(drawn("stt"))
    assert len(set(values)) == N
    assert all(0 <= value < 1 for value in values)
    assert statistics.mean(values) == pytest.approx(0.5, abs=0.02)
    assert statistics.pvariance(values) == pytest.approx(1 / 12, rel=0.05)
    # Neighbouring keys say nothing of each other.
    assert abs(statistics.correlation(values[:-1], values[1:])) < 0.05
    assert uniform(1, "a", "bc") != uniform(1, "ab", "c")


def test_a_quantile_is_read_between_the_rows_and_held_at_the_ends():
    table = ((0.1, 1.0), (0.5, 2.0), (0.9, 4.0))
    assert [quantile(table, share) for share in (0, 0.1, 0.3, 0.5, 0.7, 0.9, 1)] == pytest.approx(
        [1, 1, 1.5, 2, 3, 4, 4]
    )


@settings(max_examples=50)
@given(share=st.floats(0, 1), units=st.floats(0, 100))
def test_draws_at_even_shares_give_the_spread_back(share, units):
    level = Level(at_once=1, base_ms=10, per_unit_ms=2, spread=((0, 0.5), (0.5, 1), (1, 3)))
    assert work_ms((level,), units, 1, share) == pytest.approx((10 + 2 * units) * quantile(level.spread, share))


def test_company_costs_what_the_levels_say_and_beyond_them_in_proportion():
    levels = (Level(at_once=1, base_ms=100, per_unit_ms=0), Level(at_once=5, base_ms=300, per_unit_ms=0))
    assert [work_ms(levels, 1, at_once, 0.5) for at_once in (1, 2, 3, 5, 10)] == [100, 150, 200, 300, 600]
    only = (Level(at_once=4, base_ms=300, per_unit_ms=0),)
    assert [work_ms(only, 1, at_once, 0.5) for at_once in (1, 4, 8)] == [300, 300, 600]


def test_a_batch_takes_its_sizes_factor_of_its_mean_sentence():
    factors = ((1.0, 1.0), (8.0, 2.0))
    assert batch_ms([40.0], factors) == 40
    assert batch_ms([40.0] * 8, factors) == 80
    assert batch_ms([20.0, 60.0], factors) == pytest.approx(40 * (1 + 1 / 7))
    # No gain beyond the table: sixteen are two batches of eight.
    assert batch_ms([40.0] * 16, factors) == 160


def edited(tmp_path, *path, value):
    content = yaml.safe_load(GUIDE.read_text())
    place = content
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    file = tmp_path / "times.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("name",), "", "name: String should match pattern"),
        (("stt", "slots"), 0, "stt.slots: Input should be greater than or equal to 1"),
        (("stt", "spede"), 1, "stt.spede: Extra inputs are not permitted"),
        (("stt", "levels"), [], "stt.levels: .*needs at least one level"),
        (("stt", "levels", 0, "spread"), [[0, 2], [1, 1]], r"stt.levels.0.spread: .*both columns must rise"),
        (("llm", "token_levels"), [{"at_once": 2, "base_ms": 0, "per_unit_ms": 1}] * 2, "at_once rising"),
        (("llm", "context_tokens"), 10_000_000, "could never begin"),
        (("tts", "batch_factors"), [[1, 1], [8, 0.5]], "tts.batch_factors: .*must begin with .1, 1. and rise"),
        (("tts", "cold_start_ms"), [[0, -5], [1, 5]], "not negative"),
    ],
)
def test_a_wrong_file_is_told_by_name_place_and_reason(tmp_path, path, value, message):
    file = edited(tmp_path, *path, value=value)
    with pytest.raises(ScenarioError, match=f"^{file}: .*") as error:
        read_service_times(file)
    assert error.match(message)


def test_a_file_that_is_none_is_told(tmp_path):
    with pytest.raises(ScenarioError, match="No such file"):
        read_service_times(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("name: [")
    with pytest.raises(ScenarioError, match=r"bad\.yaml"):
        read_service_times(tmp_path / "bad.yaml")


def admission(**rules):
    return Admission(AdmissionRules(**({"slots": 2, "kv_tokens": 100, "waiting": 2} | rules)))


def test_slots_and_cache_bound_who_runs_and_the_room_bounds_who_waits():
    server = admission()
    assert server.begin(1, 40) == [1]
    assert server.begin(2, 40) == [2]
    assert server.begin(3, 10) == []
    assert server.fits(10)
    assert server.begin(4, 10) == []
    assert not server.fits(10)
    assert (server.running, server.waiting, server.kv_ratio) == (2, 2, 0.8)
    assert server.end(1) == [3]
    assert server.end(2) == [4]
    assert [server.end(number) for number in (3, 4)] == [[], []]
    assert (server.running, server.waiting, server.kv_ratio) == (0, 0, 0)


def test_a_long_prompt_waits_for_cache_and_is_not_overtaken():
    server = admission(slots=8, waiting=8)
    assert server.begin(1, 60) == [1]
    assert server.begin(2, 50) == []
    assert server.begin(3, 10) == []
    # Who gives up gives way.
    assert server.end(2) == [3]
    assert server.begin(4, 100) == []
    assert server.end(1) == []
    assert server.end(3) == [4]


def test_lost_slots_come_back():
    server = admission()
    assert server.lose(2) == []
    assert server.begin(1, 10) == []
    assert server.lose(0) == [1]


@settings(max_examples=200)
@given(st.integers(0, 10_000))
def test_whatever_happens_limits_hold_and_everyone_is_admitted_once(seed):
    rng = random.Random(seed)
    server = admission(slots=rng.randint(1, 4), kv_tokens=rng.randint(50, 200), waiting=rng.randint(1, 5))
    live, admitted = set(), []
    for number in range(60):
        tokens = rng.randint(1, 50)
        if server.fits(tokens):
            live.add(number)
            admitted += server.begin(number, tokens)
        assert server.running <= server.rules.slots
        assert server.waiting <= server.rules.waiting
        assert server.kv_ratio <= 1
        if live and rng.random() < 0.6:
            gone = rng.choice(sorted(live))
            live.discard(gone)
            admitted += server.end(gone)
    while live:
        gone = min(live)
        live.discard(gone)
        admitted += server.end(gone)
    assert len(admitted) == len(set(admitted))
    assert (server.running, server.waiting) == (0, 0)
