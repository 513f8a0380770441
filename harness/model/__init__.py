"""The ground: records, errors, clock, histogram. No I/O, standard library only; everything may import it."""
