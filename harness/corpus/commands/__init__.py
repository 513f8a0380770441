"""`callquake corpus ...`: one file a command. Each has `add(commands)`, which names its options and what runs it."""
