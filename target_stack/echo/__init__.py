"""The agent's own voice coming back in the caller's audio: found by correlation, and not taken for the caller.

correlation.py  where in what was said a piece of what is heard lies (pure)
detector.py     one call (pure; time an argument)
guard.py        its place between an edge and its session
"""
