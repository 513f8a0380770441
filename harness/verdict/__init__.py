"""Thresholds, the runbook and the verdict."""
