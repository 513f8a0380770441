"""Edges of speech under a loud background: a small network that was shown where they lie without it.

features.py   what it sees: bands over their background, loudness, periodicity, every 10 ms
network.py    its layers and their gradients, in numpy
edge.py       from what it says to an edge and how sure that is
examples.py   speech with edges that are known, put under backgrounds
train.py      `OMP_NUM_THREADS=1 python -m harness.analyze.edge_net.train`: examples -> weights.npy; with the
              defaults, the shipped corpus and the same machine and numpy the shipped file, else one like it
"""
