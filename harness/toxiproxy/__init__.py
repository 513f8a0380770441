"""A small TCP proxy of ours that breaks what passes it, by the HTTP API of Shopify's Toxiproxy.

    toxic.py    one toxic: its type, attributes and whom it is for; pure
    link.py     one direction of one connection, through the toxics in force
    proxy.py    a listener, its connections, its toxics
    api.py      the HTTP API, and /metrics
    serving.py  from command line or file to a running server

A server of its own, not a part of runs: the harness speaks to it as to any Toxiproxy (faults/families/toxiproxy.py).
Written from the API's public description. It differs in two ways: a half-closed connection stays half open, and
callquake_toxic_{connections,bytes}_total count what met each toxic as it passes.
"""
