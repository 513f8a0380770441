"""Records on a line that loses, doubles and turns round: each is given out once, in order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.load.cluster.delivery import MAX_BATCH, RESEND_AFTER_NS, WINDOW, Batch, Inbox, Outbox

pytestmark = pytest.mark.unit


def rows(n, start=0):
    return [("turn", {"n": i}) for i in range(start, start + n)]


def fill(outbox, n):
    for kind, row in rows(n, outbox.n_added):
        outbox.add(kind, row)


def take_all(outbox, now_ns):
    taken = []
    while (batch := outbox.take(now_ns)) is not None:
        taken.append(batch)
    return taken


class Line:
    """A worker's outbox and a master's inbox with a bad line between them; each method is a thing that happens."""

    def __init__(self):
        self.outbox, self.inbox, self.got, self.now_ns = Outbox(), Inbox(), [], 0
        self.batches, self.acks = [], []

    def add(self):
        fill(self.outbox, 3)

    def send(self):
        self.now_ns += 1_000
        self.batches += take_all(self.outbox, self.now_ns)

    def wait(self):
        self.now_ns += RESEND_AFTER_NS

    def double(self):
        self.batches += self.batches[:1]

    def lose(self):
        del self.batches[:1]

    def lose_ack(self):
        del self.acks[:1]

    def turn_round(self):
        self.batches.reverse()
        self.acks.reverse()

    def deliver(self):
        for batch in self.batches[:1]:
            self.got += self.inbox.take(batch)
            self.acks.append(self.inbox.awaited)
        del self.batches[:1]

    def acknowledge(self):
        for awaited in self.acks[:1]:
            self.outbox.acknowledge(awaited, self.now_ns)
        del self.acks[:1]


STEPS = ["add", "send", "wait", "double", "lose", "lose_ack", "turn_round", "deliver", "acknowledge"]


@given(steps=st.lists(st.sampled_from(STEPS), max_size=80))
def test_whatever_the_line_does_each_row_arrives_once_and_in_order(steps):
    line = Line()
    for step in steps:
        getattr(line, step)()
    assert line.got == rows(len(line.got))
    # A line that works again: one round brings the rest.
    line.batches.clear()
    line.wait()
    line.send()
    while line.batches:
        line.deliver()
    line.acks = line.acks[-1:]
    line.acknowledge()
    assert line.got == rows(line.outbox.n_added)
    assert not line.outbox.pending


def test_a_batch_beyond_a_gap_gives_nothing_and_a_known_one_gives_what_is_new():
    inbox = Inbox()
    assert inbox.take(Batch(2, rows(2, 2))) == []
    assert inbox.take(Batch(0, rows(3))) == rows(3)
    assert inbox.take(Batch(1, rows(4, 1))) == rows(2, 3)
    assert inbox.take(Batch(0, rows(3))) == []
    assert inbox.awaited == 5


def test_nothing_is_sent_twice_before_its_time():
    outbox = Outbox()
    fill(outbox, 2)
    assert [b.first for b in take_all(outbox, 0)] == [0]
    assert take_all(outbox, RESEND_AFTER_NS - 1) == []
    assert [(b.first, len(b.rows)) for b in take_all(outbox, RESEND_AFTER_NS)] == [(0, 2)]
    # Half of it arrived: the time runs anew.
    outbox.acknowledge(1, RESEND_AFTER_NS + 5)
    assert take_all(outbox, 2 * RESEND_AFTER_NS) == []
    assert [(b.first, len(b.rows)) for b in take_all(outbox, 2 * RESEND_AFTER_NS + 5)] == [(1, 1)]


def test_a_slow_master_is_not_drowned():
    outbox = Outbox()
    fill(outbox, WINDOW + 10)
    batches = take_all(outbox, 0)
    assert sum(len(b.rows) for b in batches) == WINDOW
    assert max(len(b.rows) for b in batches) == MAX_BATCH
    outbox.acknowledge(7, 0)
    assert [len(b.rows) for b in take_all(outbox, 0)] == [7]


@pytest.mark.parametrize("awaited", [-1, 0, 3, 99])
def test_an_acknowledgement_of_nothing_new_changes_nothing(awaited):
    outbox = Outbox()
    fill(outbox, 5)
    take_all(outbox, 0)
    outbox.acknowledge(3, 0)
    outbox.acknowledge(awaited, 0)
    assert outbox.pending == rows(2, 3)


def test_the_window_holds_whole_batches():
    assert WINDOW % MAX_BATCH == 0
