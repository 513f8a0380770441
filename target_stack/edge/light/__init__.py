"""WebRTC calls without aiortc's peer connection: a hundred a process, where that one takes a dozen.

port.py  one UDP socket for all calls of an address     line.py  a call's RTP, its SRTP and RTCP
call.py  a call: SDP, ICE and DTLS by harness.media.peer, data channel, and the agent behind it
"""
