"""What `callquake` exits with. One table; docs/exit-codes.md repeats it and a test holds the two together."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of `callquake`; 1 and 2 keep Locust's meaning."""

    PASSED = 0
    # Locust: an internal error, or failed requests where no verdict decides.
    LOCUST_ERROR = 1
    # A wrong command line (argparse).
    USAGE = 2
    # A threshold had no samples, or too few: not a pass.
    NO_DATA = 97
    # The generator could not keep time or lost packets of its own: the numbers must not be believed.
    VOID = 98
    # At least one threshold failed, a fault's claim was refuted, a fault was not undone, or a process leaks.
    FAILED = 99
    # The target could not be reached.
    TARGET_UNREACHABLE = 103
    # A wrong scenario or option, found before any call.
    BAD_SCENARIO = 104
    # SIGINT or SIGTERM: a partial report was written.
    INTERRUPTED = 105
