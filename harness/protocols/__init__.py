"""Bytes in, events out; time is an argument; no sockets, no asyncio."""
