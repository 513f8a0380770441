"""How phone carriers stream a call's audio to an agent: the carrier is the client and the agent the server.

    carrier (our caller)                                    agent (the target)
      WebSocket: connected, start ------------------------>
      the caller's audio, 20 ms a message, in real time -->
      dtmf, mark played, cleared ------------------------->
                           <-- audio in bursts, faster than it is heard
                           <-- mark, clear (barge-in)
      stop, close ---------------------------------------->

messages.py     what the two sides say, whoever carries it
templates.py    a JSON message with holes: written and read by one and the same template
dialects.py     the table: Twilio, Telnyx, Plivo, Exotel, Vonage, jambonz
stream.py       one stream's two ends (CarrierEnd, AgentEnd) over any row of the table; an agent tells dialects apart
audiosocket.py  Asterisk's AudioSocket: the same over plain TCP
web_socket.py   the client's end of RFC 6455, bytes in and messages out
playout.py      the carrier's playout buffer: when each sample is heard, when a mark is reached, what a clear flushes
"""
