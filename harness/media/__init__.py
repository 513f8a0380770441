"""Media of thousands of calls: what happens to a packet in each direction, on one page.

Out, every 20 ms a call (hot/outgoing.py):

    clips.py        an utterance, encoded once per codec: a payload a packet, and which packets carry its edges
    clip_table.py   its payloads by memory address
       |            deadline n x 20 ms + phase, absolute; 16 phases, each with its share of the calls (hot/run.py)
       v
    clip, background noise or silence -> RTP header -> SRTP ------------> impairment -> batch -> sendmmsg
       |       outgoing.py                packet.py     gcm.py, (libsrtp)  impair.py     batch.py  (kernel)
       |       (in its place: digits, hold; aside.py, dtmf.py)
       v
    SpeechStarted, SpeechEnded: when the packet with the first, the last voiced sample had left; DigitSent

In, at each deadline all that came since (hot/incoming.py):

    kernel: receive time of each datagram (SO_TIMESTAMPNS), drops (SO_RXQ_OVFL)
       v
    recvmmsg -> whose call? -> impairment -> SRTP ----------> RTP or RTCP?
       |        senders.py     impair.py     gcm.py, (libsrtp)   |
       |                                                         +- RTCP: reports, round trip, BYE (hot/rtcp.py)
       |                                                         +- telephone events: DigitHeard ... (hot/dtmf.py)
       v                                                         +- RTP: sequence, loss, jitter (hot/reception.py)
    STUN, DTLS: up to peer/ (ICE, DTLS, SRTP keys)                      v
                                                                 ear: silence, or decode what can decide (hot/ear.py)
                                                                        v
    AgentOnset: receive time of the first packet of sustained speech (hot/onset.py); AgentStopped

One thread an engine does all that without the GIL; `hot/` is its code, compiled by numba or interpreted (hot/jit.py).
`loop.py` is its face: `open_port`, `add_call`, and then `MediaCall.play`, `listen`, `stats`, `close` (media_call.py).
Commands go down and events, datagrams and recorded packets come up by lock-free rings (hot/rings.py, ring_reader.py);
`call_table.py` fills a call's row from its MediaSpec (spec.py) and turns what comes up into events (events.py). A call
that goes on elsewhere, with other keys or in another codec keeps its row (redirects.py, hot/redirect.py).
"""
