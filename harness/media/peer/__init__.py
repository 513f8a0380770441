"""One WebRTC peer without RTCPeerConnection: ICE on shared sockets, DTLS with one certificate a process, SRTP keys.

host.py       what all peers of a process share      source_ports.py  which targets may share a port
offering.py   our caller's side of a call            answering.py     the other side, for the reference responder
link.py       ICE, then DTLS, of one peer            seam.py          aiortc's data channel, the only private names
ice.py        checks, nomination, consent            dtls.py          handshake, SRTP keys, close
ice_port.py   one UDP socket and whose datagram is whose
gathering.py  candidates from STUN and TURN servers  relay_port.py    a relayed address as a port (RFC 8656)
relay_carrier.py  its way to the server over UDP     relay_stream.py  over TCP and TLS, with a bridge for the media
"""
