"""Plain RTP and SRTP for edges without WebRTC: one call's packets in and out, on the event loop."""
