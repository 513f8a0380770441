"""Several workers as one run: the master's side, the workers' side, and the rules between them."""
