"""What the stack tells about itself: counters for /metrics and one event a turn."""
