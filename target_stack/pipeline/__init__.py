"""One call through the stages: speech in, reply out, cancelled when the user speaks over it."""
