"""The agent's own speech: recorded answers heard by a local recogniser, against the text that the agent meant to say.

answers.py    which answers of a run can be scored, and why the others cannot (pure)
hear.py       their audio, cut out of the recordings, and what is heard in it
"""
