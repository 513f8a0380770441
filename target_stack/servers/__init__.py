"""Media servers as processes, and the front that callers reach: it routes, drains and refuses.

    callers ──► front ── HTTP connection handed over, SIP by Call-ID ──► media server s1: edge + pipeline ──► stages
                  │ registry: who has room                               media server s2 ...
                  └◄── registered, load (4 a second), gone ──────────────┘ one socket pair each (link.py)

registry.py  who is there, how full, who gets the next session (pure)     front.py     the front: all of the below
sip_routes.py  which server has which SIP call (pure)                     front_http.py, front_sip.py  its two faces
restarts.py  how long a server that died waits before the next (pure)     children.py  the processes
link.py      frames and descriptors between front and server              member.py, link_endpoint.py  the server's side
"""
