"""Incidents: calls as they came, from a file of calls or a dashboard's query; replayed; and reported."""
