"""The rules of the batch queue on virtual time: by hand, and every interleaving hypothesis finds."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from harness.model.clock import NS_PER_MS
from target_stack.pipeline.batch_queue import (
    BatchQueue,
    BatchRules,
    BatchStarted,
    Refusal,
    RequestDone,
    RequestFailed,
    RequestRefused,
    Withdrawn,
)

pytestmark = pytest.mark.unit


def ms(value):
    return round(value * NS_PER_MS)


def started(queue):
    return [output.requests for output in queue.take_outputs() if isinstance(output, BatchStarted)]


def filled(rules, *numbers, now_ms=0):
    queue = BatchQueue(rules)
    for number in numbers:
        queue.submit(number, ms(now_ms))
    return queue


def test_a_batch_starts_when_full_and_else_when_its_first_has_waited():
    queue = filled(BatchRules(size=3, wait_ms=50), 1, 2)
    assert started(queue) == []
    assert queue.next_timer_ns() == ms(50)
    queue.submit(3, ms(10))
    assert started(queue) == [(1, 2, 3)]
    queue = filled(BatchRules(size=3, wait_ms=50), 1, 2)
    queue.handle_timer(ms(49))
    assert started(queue) == []
    queue.handle_timer(ms(50))
    (batch,) = queue.take_outputs()
    assert (batch.requests, batch.waited_ms) == ((1, 2), (50.0, 50.0))


def test_size_one_is_a_plain_queue_without_any_wait():
    queue = filled(BatchRules(size=1, wait_ms=50, replicas=2), 1, 2, 3)
    assert started(queue) == [(1,), (2,)]
    queue.finish(2, ms(5), succeeded=True)
    assert queue.take_outputs()[0] == RequestDone(2, 2, 0)
    assert queue.in_batches == 2


def test_who_waited_while_all_were_busy_goes_at_once_with_whoever_is_there():
    queue = filled(BatchRules(size=4, wait_ms=50), 1)
    queue.handle_timer(ms(50))
    queue.submit(2, ms(60))
    queue.submit(3, ms(300))
    assert started(queue) == [(1,)]
    queue.finish(1, ms(301), succeeded=True)
    assert started(queue) == [(2, 3)]


def test_the_caller_who_has_been_waiting_longest_goes_first():
    queue = filled(BatchRules(size=2), 1, 2)
    for number, since in ((3, 900), (4, 100), (5, 500)):
        queue.submit(number, ms(1000), since_ns=ms(since))
    queue.take_outputs()
    queue.finish(1, ms(1001), succeeded=True)
    assert started(queue) == [(4, 5)]


def test_a_wait_counts_no_further_back_than_the_credit_so_nobody_starves():
    rules = BatchRules(size=1, credit_ms=1000, deadline_ms=60_000)
    queue = filled(rules, 1, 2)
    queue.submit(3, ms(999), since_ns=0)
    # Came more than the credit after 2 did: however long ago its caller began to wait, 2 goes before it.
    queue.submit(4, ms(1001), since_ns=ms(-90_000))
    queue.take_outputs()
    order = []
    for batch in (1, 2, 3):
        queue.finish(batch, ms(1010), succeeded=True)
        order += started(queue)
    assert order == [(2,), (3,), (4,)]


def test_a_full_queue_sheds_who_has_waited_least_be_it_the_newcomer_or_not():
    queue = filled(BatchRules(size=1, waiting=2), 1, 2, 3)
    queue.take_outputs()
    queue.submit(4, ms(1))
    assert queue.take_outputs() == [RequestRefused(4, Refusal.SATURATED)]
    queue.submit(5, ms(2), since_ns=ms(-5))
    assert queue.take_outputs() == [RequestRefused(3, Refusal.SATURATED)]


def test_who_could_not_be_answered_in_time_is_refused_at_once_but_never_by_a_free_replica():
    queue = filled(BatchRules(size=1, deadline_ms=1000), 1)
    queue.finish(1, ms(900), succeeded=True)
    queue.take_outputs()
    queue.submit(2, ms(900))
    assert started(queue) == [(2,)]
    queue.submit(3, ms(901))
    assert queue.take_outputs() == [RequestRefused(3, Refusal.LATE, 900.0)]


def test_a_deadline_ends_waiting_and_running():
    queue = filled(BatchRules(size=1, deadline_ms=100), 1, 2)
    queue.take_outputs()
    assert queue.next_timer_ns() == ms(100)
    queue.handle_timer(ms(100))
    assert [(x.request, x.reason) for x in queue.take_outputs()] == [(1, Refusal.EXPIRED), (2, Refusal.EXPIRED)]
    # The replica is busy until its work is really over; its result is dropped.
    assert queue.busy_replicas == 1
    queue.finish(1, ms(150), succeeded=True)
    assert (queue.take_outputs(), queue.busy_replicas) == ([], 0)


def test_a_failed_batch_is_tried_one_by_one_and_only_the_guilty_fails():
    queue = filled(BatchRules(size=3), 1, 2, 3)
    queue.take_outputs()
    queue.finish(1, ms(10), succeeded=False)
    answers = []
    for batch, good in ((2, True), (3, False), (4, True)):
        assert len(started(queue)[0]) == 1
        queue.finish(batch, ms(10 + batch), succeeded=good)
        answers.append(queue._outputs[0])
    assert answers == [RequestDone(1, 2, 0), RequestFailed(2, 3), RequestDone(3, 4, 0)]


def test_cancelling_before_in_and_after_a_batch():
    queue = filled(BatchRules(size=2, wait_ms=50), 1, 2, 3)
    queue.take_outputs()
    assert queue.cancel(3) is Withdrawn.WAITING
    assert queue.cancel(1) is Withdrawn.RUNNING
    queue.finish(1, ms(5), succeeded=True)
    assert queue.take_outputs() == [RequestDone(2, 1, 1)]
    assert queue.cancel(2) is Withdrawn.OVER
    assert queue.next_timer_ns() is None


def test_a_closed_queue_refuses_what_it_has_and_what_comes():
    queue = filled(BatchRules(size=1), 1, 2)
    queue.take_outputs()
    queue.close()
    queue.submit(3, ms(1))
    assert [(x.request, x.reason) for x in queue.take_outputs()] == [(n, Refusal.CLOSED) for n in (2, 1, 3)]


@pytest.mark.parametrize("wrong", [{"size": 0}, {"waiting": 0}, {"replicas": 0}, {"wait_ms": -1}, {"deadline_ms": 0}])
def test_rules_no_queue_can_keep(wrong):
    with pytest.raises(ValueError, match="must"):
        BatchRules(**wrong)


def test_a_newcomer_goes_with_the_batch_that_is_due_as_it_comes():
    queue = BatchQueue(BatchRules(size=2, wait_ms=50))
    queue.submit(1, 0)
    queue.submit(2, ms(50), since_ns=-ms(50))
    assert [output.requests for output in queue.take_outputs()] == [(2, 1)]


class AnyInterleaving(RuleBasedStateMachine):
    """Submits, cancels, successes, failures and time in any order; the model counts every request's ending."""

    @initialize(
        size=st.integers(1, 4),
        replicas=st.integers(1, 3),
        waiting=st.integers(1, 6),
        wait=st.sampled_from([0, 50]),
        deadline=st.sampled_from([120, 1000]),
        credit=st.sampled_from([0, 300]),
    )
    def begin(self, size, replicas, waiting, wait, deadline, credit):
        self.rules = BatchRules(size, wait, deadline, waiting, replicas, credit)
        self.queue = BatchQueue(self.rules)
        self.now = 0
        self.count = 0
        self.submitted_at = {}
        self.since = {}
        self.waiting = set()
        # Batch -> replica and members; members that left keep their place.
        self.running = {}
        self.alone = set()
        # Request -> how it ended; a second ending fails the test.
        self.ended = {}

    def end(self, number, how):
        assert number in self.submitted_at, "an answer to nobody"
        assert number not in self.ended, f"{number} ended twice: {self.ended.get(number)}, {how}"
        self.ended[number] = how
        self.waiting.discard(number)

    def read(self, finished=None):
        """Take the outputs into the model; `finished`: the batch that just ended, its members, whether it did well."""
        for output in self.queue.take_outputs():
            match output:
                case BatchStarted(batch, replica, requests, waited):
                    self.check_start(requests, waited)
                    assert replica not in [other for other, _ in self.running.values()], "a replica has two batches"
                    self.running[batch] = (replica, requests)
                    self.waiting -= set(requests)
                case RequestDone(number, batch, place):
                    assert finished is not None
                    assert batch == finished[0]
                    assert finished[2], "answered by a batch that failed"
                    assert finished[1][place] == number, "crossed: the answer of another place"
                    assert self.submitted_at[number] + self.rules.deadline_ms * NS_PER_MS > self.now, "too late"
                    self.end(number, "done")
                case RequestFailed(number, batch):
                    assert finished is not None
                    assert (batch, not finished[2]) == (finished[0], True)
                    assert finished[1] == (number,), "failed though it shared its batch"
                    self.end(number, "failed")
                case RequestRefused(number, reason):
                    self.check_refusal(number, reason)
                    self.end(number, reason)

    def check_start(self, requests, waited):
        assert 1 <= len(requests) <= self.rules.size
        assert set(requests) <= self.waiting, "started what does not wait"
        assert all(self.submitted_at[n] + self.rules.deadline_ms * NS_PER_MS > self.now for n in requests)
        assert list(waited) == [(self.now - self.submitted_at[n]) / NS_PER_MS for n in requests]
        if set(requests) & self.alone:
            assert len(requests) == 1, "one that broke a batch shares another"
        left = self.waiting - set(requests) - self.alone
        urgency = [(self.since[n], n) for n in requests]
        assert urgency == sorted(urgency)
        if not set(requests) & self.alone:
            assert all((self.since[n], n) > urgency[-1] for n in left), "overtaken by one who has waited less"

    def check_refusal(self, number, reason):
        due = self.submitted_at[number] + self.rules.deadline_ms * NS_PER_MS
        assert (reason is Refusal.EXPIRED) == (due <= self.now)
        if reason is Refusal.SATURATED:
            assert len(self.waiting) > self.rules.waiting
            assert number not in self.alone
            assert all(self.submitted_at[n] + ms(self.rules.deadline_ms) > self.now for n in self.waiting)
            assert all((self.since[n], n) <= (self.since[number], number) for n in self.waiting - self.alone)
        if reason is Refusal.LATE:
            assert number == self.count, "promised a place and refused it later"

    @rule(waited=st.sampled_from([0, 1, 100, 10_000]))
    def submit(self, waited):
        self.count += 1
        self.submitted_at[self.count] = self.now
        since = self.now - ms(waited)
        self.since[self.count] = max(since, self.now - ms(self.rules.credit_ms))
        self.waiting.add(self.count)
        self.queue.submit(self.count, self.now, since_ns=since)
        self.read()

    @precondition(lambda self: self.count)
    @rule(data=st.data())
    def cancel(self, data):
        number = data.draw(st.integers(1, self.count))
        where = self.queue.cancel(number)
        if number in self.ended:
            assert where is Withdrawn.OVER
        elif number in self.waiting:
            assert where is Withdrawn.WAITING
            self.end(number, "cancelled")
        else:
            assert where is Withdrawn.RUNNING
            self.end(number, "cancelled")
        self.read()

    @precondition(lambda self: self.running)
    @rule(data=st.data(), good=st.booleans())
    def finish(self, data, good):
        batch = data.draw(st.sampled_from(sorted(self.running)))
        _replica, members = self.running.pop(batch)
        if not good and len(members) > 1:
            self.alone |= set(members)
            due = {n for n in members if self.submitted_at[n] + ms(self.rules.deadline_ms) <= self.now}
            self.waiting |= {n for n in members if n not in self.ended and n not in due}
        self.queue.finish(batch, self.now, succeeded=good)
        self.read((batch, members, good))

    @rule(step=st.sampled_from([1, 10, 49, 50, 121, 700]))
    def pass_time(self, step):
        """Move on, calling at each timer as the shell does."""
        end = self.now + ms(step)
        for _ in range(200):
            due = self.queue.next_timer_ns()
            if due is None or due > end:
                break
            self.now = max(self.now, due)
            self.queue.handle_timer(self.now)
            self.read()
        else:
            pytest.fail("the timer does not move on")
        self.now = end

    @rule(step=st.sampled_from([1, 37, 130]))
    def stall(self, step):
        """A busy event loop calls its timers late, and behind whatever else happens first."""
        self.now += ms(step)

    @rule()
    def call_for_nothing(self):
        self.queue.handle_timer(self.now)
        self.read()

    @invariant()
    def nothing_is_lost(self):
        if not hasattr(self, "queue"):
            return
        in_batches = {n for _, members in self.running.values() for n in members if n not in self.ended}
        assert self.waiting | in_batches == set(self.submitted_at) - set(self.ended)
        assert self.queue.depth == len(self.waiting)
        assert self.queue.in_batches == len(in_batches)
        assert self.queue.busy_replicas == len(self.running)
        assert len(self.waiting - self.alone) <= self.rules.waiting

    @invariant()
    def no_replica_idles_while_a_full_batch_waits(self):
        if hasattr(self, "queue") and len(self.running) < self.rules.replicas:
            assert len(self.waiting) < self.rules.size
            assert not self.waiting & self.alone

    def teardown(self):
        """Let all batches end well: then every request has been answered."""
        if not hasattr(self, "queue"):
            return
        for _ in range(len(self.submitted_at) + 1):
            for batch in sorted(self.running):
                _replica, members = self.running.pop(batch)
                self.queue.finish(batch, self.now, succeeded=True)
                self.read((batch, members, True))
            self.pass_time(60)
        assert set(self.ended) == set(self.submitted_at)


TestAnyInterleaving = AnyInterleaving.TestCase
TestAnyInterleaving.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
