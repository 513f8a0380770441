"""Scenario files: schema, loading, arrivals, personas, call plans."""
