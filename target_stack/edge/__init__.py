"""Where calls come in: HTTP and WebRTC outside, `AgentSession` inside."""
