"""One call over one transport, and the conversation held in it."""
