"""The media loop, sockets and kernel timestamps, Opus, onset, playback, recording."""
