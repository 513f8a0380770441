"""Plain SIP calls, compiled: INVITE, 1xx, 200, ACK, BYE, 200, over UDP and without audio, thousands a second.

    engine ─► calls.py        the shell: rows of calls in, milestones and records out, what is not plain handed over
                │ place, fire_due, take_datagrams                              ▲ told (hot/tell.py)
                ▼                                                              │
              hot/            compiled by numba, or interpreted: no clock, no socket but kernel.py's, time an argument
                machine.py    one call's states and its RFC 3261 timers; wheel.py wakes it
                scan.py       is this datagram one that a plain call expects, to the byte?
                compose.py    messages from templates
                kernel.py     recvmmsg and sendmmsg, with the kernel's receive times

What is not plain - another final response, Record-Route, a Contact elsewhere, a request of the agent, a field written
unusually, nobody there, no answer in time, the operator's wish - is no matter for this package: handover.py gives the
call as it stands to the user agent (protocols/sip) and its caller (callers/sip.py), by telling them all messages that
came, and they go on with it as if they had begun it. What a call says and records is the same either way: templates.py
takes the messages from the user agent itself, record.py writes what SipLog and Call would.
"""
