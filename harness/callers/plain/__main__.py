"""`python -m harness.callers.plain`: compile plain SIP calls now, so that the first run need not."""

import sys
import time

from harness.callers.plain.calls import compile_plain
from harness.callers.plain.hot.jit import MODE


def main() -> int:
    """Compile, and say how long it took."""
    began = time.monotonic()
    compile_plain()
    print(f"plain SIP calls: {MODE}, ready after {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
