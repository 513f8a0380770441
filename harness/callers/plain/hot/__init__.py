"""The compiled part of plain SIP calls; in the part of Python that numba compiles (harness/media/hot/jit.py)."""
