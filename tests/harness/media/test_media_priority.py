"""The media loop's thread goes before the event loop's, where real-time scheduling is to be had."""

import os
import threading

import pytest

from harness.media.priority import outrank_the_process

pytestmark = pytest.mark.unit


def in_a_thread(work):
    """Return what `work` returns in a thread of its own, whose scheduling ends with it."""
    told = []
    thread = threading.Thread(target=lambda: told.append(work()))
    thread.start()
    thread.join()
    return told[0]


def scheduling():
    return os.sched_getscheduler(0), os.sched_getparam(0).sched_priority


def real_time_then_outrank():
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        return None
    outrank_the_process()
    return scheduling()


def ordinary_then_outrank():
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    outrank_the_process()
    return scheduling()


def test_a_real_time_thread_rises_above_its_process_and_alone():
    before = scheduling()
    found = in_a_thread(real_time_then_outrank)
    if found is None:
        pytest.skip("real-time scheduling is not allowed here")
    assert found == (os.SCHED_RR, 2)
    assert scheduling() == before


def test_an_ordinary_thread_stays_as_it_is():
    assert in_a_thread(ordinary_then_outrank) == (os.SCHED_OTHER, 0)
