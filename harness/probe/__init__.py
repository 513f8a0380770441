"""One call to an agent, with everything that can be told of it: what `callquake probe` does."""
