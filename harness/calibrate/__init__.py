"""The reference responder with known delays, and the self-test against it."""
