"""Recogniser and voice as servers of their own, in OpenAI's shapes, and the agent's side of them."""
