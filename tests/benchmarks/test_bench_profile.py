"""perf's samples, sorted by what the code was doing."""

import pytest

from benchmarks.profile_loop import Stack, kind_of, shares, stacks

pytestmark = pytest.mark.unit

PRINTED = """\
  77
\tffffffff81 fib_lookup ([kernel.kallsyms])
\tffffffff82 udp_sendmsg ([kernel.kallsyms])
\tffffffff83 __x64_sys_sendmmsg ([kernel.kallsyms])
\t    7f0001 sendmmsg (/usr/lib/libc.so.6)

  77
\tffffffff81 udp_queue_rcv_one_skb ([kernel.kallsyms])
\tffffffff82 __netif_receive_skb_one_core ([kernel.kallsyms])
\tffffffff83 __x64_sys_sendmmsg ([kernel.kallsyms])

  70
\t    55aa01 _PyEval_EvalFrameDefault (/usr/bin/python3.11)

  77
\t    7f0002 [unknown] ([unknown])
"""


def test_stacks_are_parsed_leaf_first_and_by_thread():
    found = list(stacks(PRINTED.splitlines()))
    assert [stack.thread for stack in found] == [77, 77, 70, 77]
    assert found[0].frames[0] == ("fib_lookup", "[kernel.kallsyms]")
    assert found[0].frames[-1] == ("sendmmsg", "/usr/lib/libc.so.6")


def test_each_sample_is_named_by_what_it_was_doing():
    kinds = [kind_of(stack) for stack in stacks(PRINTED.splitlines())]
    assert kinds == ["send (system call)", "delivery to the receiver (in send)", "Python", "compiled loop"]


@pytest.mark.parametrize(
    ("frames", "kind"),
    [
        ([("srtp_protect", "/site/pylibsrtp/_binding.abi3.so")], "SRTP (libsrtp)"),
        ([("celt_decode", "/site/av.libs/libopus-1.so.0")], "Opus decoding"),
        ([("schedule", "[kernel.kallsyms]"), ("__x64_sys_clock_nanosleep", "[kernel.kallsyms]")], "sleep and wake-up"),
        ([("clear_page", "[kernel.kallsyms]"), ("asm_exc_page_fault", "[kernel.kallsyms]")], "other kernel work"),
        ([("skb_segment", "[kernel.kallsyms]"), ("__sys_sendmsg", "[kernel.kallsyms]")], "send (system call)"),
        ([("kfree", "[kernel.kallsyms]"), ("handle_softirqs", "[kernel.kallsyms]")], "network work in interrupts"),
        ([], "unknown"),
    ],
)
def test_kinds(frames, kind):
    assert kind_of(Stack(1, tuple(frames))) == kind


def test_shares_keep_the_event_loops_thread_apart_and_sum_to_one():
    found = shares(stacks(PRINTED.splitlines()), main_thread=70)
    assert found["event loop: Python"] == 0.25
    assert sum(found.values()) == 1.0
