"""Failure modes, each run twice: with its fix off it must fail and show its symptom, with its fix on it must pass."""
