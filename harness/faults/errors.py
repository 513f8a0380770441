"""What goes wrong with faults."""

from harness.model.errors import CallquakeError


class FaultError(CallquakeError):
    """A fault could not be injected, or not be undone; says which and why."""
