"""One kind of noise a file; each makes float samples at 48 kHz from a seeded generator. `beds.py` chooses."""
