"""The sockets and timers under a SIP user agent, for callers and for agents: asyncio, one event loop."""
