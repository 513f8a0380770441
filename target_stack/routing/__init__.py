"""Which provider does a stage's work for a turn: our own until it is nearly full, then others, each at its price."""
