"""Edges of speech under a loud background: a small network that was shown where they lie without it.

features.py   what it sees: bands over their background, loudness, periodicity, every 10 ms
network.py    its layers and their gradients, in numpy
edge.py       from what it says to an edge and how sure that is
examples.py   speech with edges that are known, put under backgrounds
train.py      `python -m harness.analyze.edge_net.train`: examples -> weights.npy. It makes one like the shipped
              file, not the same: that is of 6,750 examples in 18 rounds, with other seeds than the defaults here
"""
