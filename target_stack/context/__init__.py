"""What of a conversation the language model is told when it no longer fits: pure, no clock, no I/O.

tokens.py says how long a text is, facts.py what must not be forgotten, summary.py how the rest is retold, fitting.py
what is sent, memory.py what is kept of one call, overflow.py what a server says that was sent too much.
"""
