"""The leak audit: a planted leak is found, a level process passes, and what could not be told is told as that."""

import math
import random

import pytest
from scipy import stats

from harness.faults.catalogue import KINDS
from harness.measure import leak_audit
from harness.measure.audit_after import ENDING
from harness.measure.audit_rows import Check, Load
from harness.measure.audit_rules import AuditRules, rules_of
from harness.measure.generator_health import HealthPoint
from harness.measure.injections import Injection
from harness.measure.theil_sen import theil_sen
from harness.model.audit_sample import AuditSample, Side
from harness.model.fault import Evidence, Fault, Where

pytestmark = pytest.mark.unit

S = 1_000_000_000
MINUTES = 30
BEGUN = 1_000 * S
OVER = BEGUN + MINUTES * 60 * S
HOUR = 3600 * S


@pytest.mark.parametrize("seed", range(8))
def test_slope_and_interval_are_scipys(seed):
    rng = random.Random(seed)
    points = [(x * 0.7, round(rng.gauss(3 * x, 9))) for x in range(rng.randint(8, 40))]
    ours = theil_sen(points)
    # alpha is rounded to 1.96 by neither.
    theirs = stats.theilslopes([y for _, y in points], [x for x, _ in points], 0.95)
    assert (ours.per_x, ours.low, ours.high) == pytest.approx((theirs.slope, theirs.low_slope, theirs.high_slope))


def test_slope_of_nothing_is_none_and_of_two_points_is_unbounded():
    assert theil_sen([(1, 2)]) is None
    assert theil_sen([(1, 2), (1, 3)]) is None
    two = theil_sen([(0, 0), (1, 5)])
    assert (two.per_x, two.low, two.high) == (5, -math.inf, math.inf)


class Process:
    """A process of half an hour, sampled every 5 s; `rss`, `fds`, `tasks` are functions of (hours, calls)."""

    def __init__(self, name="s1", pid=11, side=Side.TARGET, seed=1, begin=BEGUN - S, end=OVER, **held):
        self.name, self.pid, self.side, self.begin, self.end = name, pid, side, begin, end
        self._rng = random.Random(seed)
        self._held = {"rss_mib": lambda h, c: 150 + 0.2 * c, "descriptors": lambda h, c: 20 + 2 * c} | held

    def sample(self, at, calls, *, is_after=False):
        hours = max(0, at - BEGUN) / HOUR
        noise = {"rss_mib": self._rng.gauss(0, 0.3)}
        values = {q: float(f(hours, calls) + noise.get(q, 0)) for q, f in self._held.items()}
        return AuditSample(
            at, self.side, self.name, self.pid, values | {"threads": 9.0, "calls": float(calls)}, "", is_after
        )

    def samples(self, calls_at=lambda at: 55, *, ends=True):
        found = [self.sample(at, calls_at(at) if at >= BEGUN else 0) for at in range(self.begin, self.end, 5 * S)]
        return found + [self.sample(OVER + n * S, 0, is_after=True) for n in (2, 3)] * (ends and self.end == OVER)


HEALTH = [HealthPoint("local", BEGUN + n * S, 165, None, 0.1) for n in range(MINUTES * 60)]


def audit(*processes, rules=None, faults=(), **changes):
    samples = [sample for process in processes for sample in (process.samples(**changes))]
    random.Random(3).shuffle(samples)
    return leak_audit.measure(samples, rules or AuditRules(sides=(Side.TARGET,)), Load(HEALTH, BEGUN, faults))


def row(result, quantity, check=Check.GROWTH, pid=11):
    (found,) = [r for r in result.rows if (r.quantity, r.check, r.pid) == (quantity, check, pid)]
    return found


def test_level_process_passes_and_says_with_what():
    result = audit(Process())
    assert (result.broken, result.undecided) == ([], [])
    grown = row(result, "rss_mib")
    assert grown.n == 30
    assert grown.low <= grown.value <= grown.high <= 30
    assert row(result, "descriptors", Check.REST).why == "20 before the first call, 20 after the last, at most 8 more"
    assert result.calls_up == 165
    assert result.at_rest_s == pytest.approx(7, abs=5)


def test_memory_that_grows_at_matched_load_is_found():
    result = audit(Process(rss_mib=lambda h, c: 150 + 60 * h))
    assert row(result, "rss_mib").value == pytest.approx(60, rel=0.1)
    assert any("rss_mib: grew by +" in line and "at most 30" in line for line in result.broken)
    # A bound of null is told, and not judged.
    rules = rules_of({"of": ["target"], "growth_per_hour": {"rss_mib": None}})
    assert audit(Process(rss_mib=lambda h, c: 150 + 60 * h), rules=rules).broken == []


def test_more_calls_are_no_leak_and_a_leak_is_seen_through_them():
    """Memory follows the calls: judged over all samples the climb would be a leak, at matched load it is none."""

    def calls_at(at):
        return min(55, (at - BEGUN) // (15 * S))

    assert audit(Process(), calls_at=calls_at).broken == []
    leaking = Process(descriptors=lambda h, c: 20 + 2 * c + 300 * h)
    assert row(audit(leaking, calls_at=calls_at), "descriptors").is_kept is False


def test_counts_left_after_the_calls_are_found_and_the_warm_up_is_not():
    leaking = Process(tasks=lambda h, c: 12 + 3 * c + 25 * h)
    result = audit(leaking)
    assert row(result, "tasks", Check.REST).is_kept is False
    assert "tasks: 12 before the first call, 24.52 after the last, at most 4 more" in "\n".join(result.broken)
    assert result.at_rest_s is None
    warming = Process(rss_mib=lambda h, c: 150 + 400 * min(h, 0.09))
    assert row(audit(warming), "rss_mib").is_kept is True


def test_too_short_to_tell_is_undecided_and_never_a_pass():
    result = audit(Process(rss_mib=lambda h, c: 150 + 30 * h))
    assert row(result, "rss_mib").is_kept is None
    assert any("undecided" in line for line in result.undecided)
    short = Process()
    short.end = BEGUN + 40 * S
    result = audit(short, ends=False)
    assert "at least 10 are needed" in row(result, "rss_mib").why
    assert list(result.missing.values()) == [
        "no process of the target's was read after the load: what is left was not measured"
    ]


def killed(at, kind="media_server.kill"):
    fault = Fault("worker-killed", kind, Where.INFRASTRUCTURE)
    return Injection(fault, at, at + 20 * S, Evidence(1, "media servers killed"))


def test_killed_process_is_reported_and_its_successor_held_against_its_first_sample():
    half = BEGUN + 900 * S
    first, second = Process(end=half), Process(pid=12, begin=half + 5 * S)
    result = audit(first, second, Process("s2", 13), faults=[killed(half - 2 * S)])
    told = row(result, "process", Check.ALIVE)
    assert told.is_kept is True
    assert "by fault worker-killed; pid 12 had its place 6 s later" in told.why
    # It began under load; its own first sample would hide what it left.
    assert row(result, "descriptors", Check.REST, 12).first == 20
    assert (result.broken, result.undecided) == ([], [])
    assert "not judged: it was there for 15 of 30 minutes" in row(result, "rss_mib", pid=12).why
    # Nobody was there throughout: nobody's growth is known.
    alone = audit(first, second, faults=[killed(half - 2 * S)])
    assert "no process of the target's was there throughout the load" in alone.undecided[0]


def test_kinds_that_end_processes_are_kinds():
    assert set(KINDS) >= ENDING


def test_process_that_ends_by_itself_or_for_good_fails():
    half = BEGUN + 900 * S
    slowed = audit(
        Process(end=half), Process(pid=12, begin=half + 5 * S), faults=[killed(half - 2 * S, "toxiproxy.latency")]
    )
    assert "and no fault was to end it" in slowed.broken[0], "a hop that is slow ends no process"
    alone = audit(Process(end=half), Process(pid=12, begin=half + 5 * S))
    assert "and no fault was to end it" in alone.broken[0]
    gone = audit(Process(end=half), Process(name="s2", pid=13), faults=[killed(half)])
    assert gone.broken == [
        "leak audit: s1, pid 11: process: ended after 14:59, by fault worker-killed; none took its place"
    ]


def test_processes_of_two_targets_by_one_name_are_not_each_others():
    other = Process(pid=12, descriptors=lambda h, c: 80 + 2 * c)
    result = audit(Process(), other)
    assert (result.broken, result.undecided) == ([], [])
    assert [row(result, "descriptors", Check.REST, pid).first for pid in (11, 12)] == [20, 80]
    # The one that was there all along has not taken the place of the one that died.
    half = BEGUN + 900 * S
    gone = audit(Process(end=half), other, faults=[killed(half)])
    assert row(gone, "process", Check.ALIVE).why.endswith("none took its place")
    assert row(gone, "descriptors", Check.REST, 12).first == 80
    replaced = audit(Process(end=half), other, Process(pid=13, begin=half + 5 * S), faults=[killed(half)])
    assert "pid 13 had its place" in row(replaced, "process", Check.ALIVE).why
    assert row(replaced, "descriptors", Check.REST, 13).first == 20


def test_process_that_was_drained_has_not_died():
    half = BEGUN + 900 * S
    rules = AuditRules(sides=(Side.TARGET,))
    drained, beside = Process(end=half), Process("s2", 13)
    told = AuditSample(half + 4 * S, Side.TARGET, "s1", 11, {}, "", False, is_ordered=True)
    # Of one that nobody ever looked at, nothing is said.
    unseen = AuditSample(half + 4 * S, Side.TARGET, "s9", 99, {}, "", False, is_ordered=True)

    def audited(*others):
        samples = [told, unseen, *(one for process in (drained, beside, *others) for one in process.samples())]
        return leak_audit.measure(samples, rules, Load(HEALTH, BEGUN))

    gone = audited()
    assert (gone.broken, gone.undecided) == ([], [])
    assert row(gone, "process", Check.ALIVE).why == "ended after 14:59, by order; none took its place"
    assert {one.process for one in gone.processes} == {"s1", "s2"}
    replaced = audited(Process(pid=12, begin=half + 5 * S))
    assert replaced.broken == []
    assert "by order; pid 12 had its place" in row(replaced, "process", Check.ALIVE).why
    # What its successor leaves is held against it all the same.
    leaving = audited(Process(pid=12, begin=half + 5 * S, descriptors=lambda h, c: 60 + 2 * c))
    assert row(leaving, "descriptors", Check.REST, 12).is_kept is False


def test_process_that_cannot_be_read_is_not_measured():
    unread = [
        AuditSample(BEGUN + n * 5 * S, Side.TARGET, "agent", 7, {}, "process 7 may not be read") for n in range(9)
    ]
    result = leak_audit.measure(unread, AuditRules(sides=(Side.TARGET,)), Load(HEALTH, BEGUN))
    assert result.missing == {Side.TARGET: "no process of the target's was read: process 7 may not be read"}
    assert result.broken == []
    nobody = leak_audit.measure([], AuditRules(), Load(HEALTH, BEGUN))
    assert nobody.undecided == [
        f"leak audit: no process of {whose} was read: nobody sampled any" for whose in ("the target's", "our own")
    ]


def test_own_process_that_is_left_over_is_found():
    engine = Process("engine", 21, Side.OWN)
    result = audit(engine, rules=AuditRules(sides=(Side.OWN,)))
    assert "engine (our own), pid 21: process: was still there after the run" in result.broken[0]
    ended = audit(engine, rules=AuditRules(sides=(Side.OWN,)), ends=False)
    assert (ended.broken, ended.undecided) == ([], [])


def mixed(seed, leak_per_hour=0.0):
    """Descriptors by 5 s of 55 calls, half of them by phone in the mean, of which each holds three; no call is long."""
    rng = random.Random(seed)
    calls = [[rng.random() < 0.5, rng.uniform(0, 60)] for _ in range(55)]
    held = []
    for at_s in range(0, MINUTES * 60, 5):
        for call in calls:
            while call[1] <= at_s:
                call[0], call[1] = rng.random() < 0.5, call[1] + rng.uniform(20, 90)
        held.append(10 + 3 * sum(is_phone for is_phone, _ in calls) + int(leak_per_hour * at_s / 3600))
    return lambda hours, calls_up: held[min(round(hours * 720), len(held) - 1)] if calls_up else 10


@pytest.mark.parametrize("seed", range(5))
def test_a_mix_of_calls_that_shifts_is_no_leak_by_the_bound_that_finds_one(seed):
    level = row(audit(Process(descriptors=mixed(seed))), "descriptors")
    assert level.is_kept is not False
    assert (level.bound, level.high - level.low < 120) == (60, True)
    leaking = audit(Process(descriptors=mixed(seed, leak_per_hour=150)))
    assert row(leaking, "descriptors").is_kept is False
