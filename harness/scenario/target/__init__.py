"""The `target` of a scenario, a file for each block of it; `block.Target` is the whole."""
