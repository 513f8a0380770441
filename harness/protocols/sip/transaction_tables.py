"""The four transactions as data: state -> event -> (next state, actions); RFC 3261 figures 5 to 8, with RFC 6026.

Events are the RFC's timer letters, classes of responses, methods received, "send ..." = the user's responses, and
"transport error". Whatever the network may do has an entry in every state; an empty tuple of actions = absorbed.
"""

from harness.protocols.sip.transaction import (
    ACCEPTED,
    CALLING,
    COMPLETED,
    CONFIRMED,
    INITIAL,
    PROCEEDING,
    TERMINATED,
    TRYING,
    Table,
    acknowledge,
    drop_data,
    forget,
    let_go,
    next_a,
    next_e,
    next_e_slow,
    next_g,
    pass_up,
    report_failure,
    resend,
    send,
    start_a,
    start_b,
    start_d,
    start_e,
    start_f,
    start_g,
    start_h,
    start_i,
    start_j,
    start_k,
    start_l,
    start_m,
    stop,
    time_out,
)

CLIENT_INVITE: Table = {
    INITIAL: {"send INVITE": (CALLING, (send, start_a, start_b))},
    CALLING: {
        "A": (CALLING, (resend, next_a)),
        "B": (TERMINATED, (stop, forget, time_out, let_go)),
        "1xx": (PROCEEDING, (stop, pass_up)),
        "2xx": (ACCEPTED, (stop, drop_data, start_m, pass_up)),
        "3xx-6xx": (COMPLETED, (stop, acknowledge, start_d, pass_up, let_go)),
        "transport error": (TERMINATED, (stop, forget, report_failure, let_go)),
    },
    PROCEEDING: {
        "1xx": (PROCEEDING, (pass_up,)),
        "2xx": (ACCEPTED, (drop_data, start_m, pass_up)),
        "3xx-6xx": (COMPLETED, (acknowledge, start_d, pass_up, let_go)),
        "transport error": (TERMINATED, (stop, forget, report_failure, let_go)),
    },
    # 2xx of other forks, and 2xx repeated because our ACK was lost, are the user's (RFC 6026 7.2).
    ACCEPTED: {
        "1xx": (ACCEPTED, ()),
        "2xx": (ACCEPTED, (pass_up,)),
        "3xx-6xx": (ACCEPTED, ()),
        "transport error": (ACCEPTED, ()),
        "M": (TERMINATED, (stop, forget, let_go)),
    },
    COMPLETED: {
        "1xx": (COMPLETED, ()),
        "2xx": (COMPLETED, ()),
        "3xx-6xx": (COMPLETED, (acknowledge,)),
        "transport error": (TERMINATED, (stop, forget)),
        "D": (TERMINATED, (stop, forget)),
    },
    TERMINATED: {},
}

CLIENT_NON_INVITE: Table = {
    INITIAL: {"send request": (TRYING, (send, start_e, start_f))},
    TRYING: {
        "E": (TRYING, (resend, next_e)),
        "F": (TERMINATED, (stop, forget, time_out, let_go)),
        "1xx": (PROCEEDING, (pass_up,)),
        "2xx": (COMPLETED, (stop, start_k, pass_up, let_go)),
        "3xx-6xx": (COMPLETED, (stop, start_k, pass_up, let_go)),
        "transport error": (TERMINATED, (stop, forget, report_failure, let_go)),
    },
    PROCEEDING: {
        "E": (PROCEEDING, (resend, next_e_slow)),
        "F": (TERMINATED, (stop, forget, time_out, let_go)),
        "1xx": (PROCEEDING, (pass_up,)),
        "2xx": (COMPLETED, (stop, start_k, pass_up, let_go)),
        "3xx-6xx": (COMPLETED, (stop, start_k, pass_up, let_go)),
        "transport error": (TERMINATED, (stop, forget, report_failure, let_go)),
    },
    COMPLETED: {
        "1xx": (COMPLETED, ()),
        "2xx": (COMPLETED, ()),
        "3xx-6xx": (COMPLETED, ()),
        "transport error": (COMPLETED, ()),
        "K": (TERMINATED, (stop, forget)),
    },
    # A reliable transport ends timer K at once, before the response is passed up.
    TERMINATED: {},
}

SERVER_INVITE: Table = {
    INITIAL: {"INVITE": (PROCEEDING, ())},
    PROCEEDING: {
        "INVITE": (PROCEEDING, (resend,)),
        "ACK": (PROCEEDING, ()),
        "send 1xx": (PROCEEDING, (send,)),
        "send 2xx": (ACCEPTED, (send, drop_data, start_l, let_go)),
        "send 3xx-6xx": (COMPLETED, (send, start_g, start_h)),
        "transport error": (PROCEEDING, (report_failure,)),
    },
    # The user repeats the 2xx until its ACK, a transaction of its own, has come; INVITEs are absorbed (RFC 6026 7.1).
    ACCEPTED: {
        "INVITE": (ACCEPTED, ()),
        "ACK": (ACCEPTED, ()),
        "send 2xx": (ACCEPTED, (send, drop_data)),
        "transport error": (ACCEPTED, ()),
        "L": (TERMINATED, (stop, forget)),
    },
    COMPLETED: {
        "INVITE": (COMPLETED, (resend,)),
        "ACK": (CONFIRMED, (stop, drop_data, start_i, let_go)),
        "G": (COMPLETED, (resend, next_g)),
        "H": (TERMINATED, (stop, forget, time_out, let_go)),
        "transport error": (COMPLETED, ()),
    },
    CONFIRMED: {
        "INVITE": (CONFIRMED, ()),
        "ACK": (CONFIRMED, ()),
        "transport error": (CONFIRMED, ()),
        "I": (TERMINATED, (stop, forget)),
    },
    TERMINATED: {},
}

SERVER_NON_INVITE: Table = {
    INITIAL: {"request": (TRYING, ())},
    TRYING: {
        "request": (TRYING, ()),
        "send 1xx": (PROCEEDING, (send,)),
        "send 2xx": (COMPLETED, (send, start_j, let_go)),
        "send 3xx-6xx": (COMPLETED, (send, start_j, let_go)),
        "transport error": (TRYING, (report_failure,)),
    },
    PROCEEDING: {
        "request": (PROCEEDING, (resend,)),
        "send 1xx": (PROCEEDING, (send,)),
        "send 2xx": (COMPLETED, (send, start_j, let_go)),
        "send 3xx-6xx": (COMPLETED, (send, start_j, let_go)),
        "transport error": (PROCEEDING, (report_failure,)),
    },
    COMPLETED: {
        "request": (COMPLETED, (resend,)),
        "transport error": (COMPLETED, ()),
        "J": (TERMINATED, (stop, forget)),
    },
    TERMINATED: {},
}
