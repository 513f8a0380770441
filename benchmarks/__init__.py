"""Callquake beside its peers, measured in turn on this machine: `python -m benchmarks.NAME --json FILE`.

docs/benchmarks.md tells the method; every module here that has a `main` is one comparison.
"""
