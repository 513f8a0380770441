"""The hot path: what runs once a packet, in the part of Python that numba compiles (jit.py says how).

`run.py` is the loop; `outgoing.py` and `incoming.py` show a packet's way in each direction.
"""
