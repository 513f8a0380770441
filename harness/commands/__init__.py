"""What each `callquake` command does; cli.py only parses and calls."""
