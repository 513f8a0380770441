"""The process that hosts calls, and its wire format."""
