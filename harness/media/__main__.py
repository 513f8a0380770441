"""`python -m harness.media`: compile the media loop now, so that the first run need not; once per installation."""

import sys
import time

from harness.media.loop import MediaLoop


def main() -> int:
    """Compile, and say how long it took."""
    began = time.monotonic()
    loop = MediaLoop()
    loop.compile()
    took_s = time.monotonic() - began
    print(f"media loop: {loop.mode}" + (f", compiled in {took_s:.0f} s" if took_s > 5 else ", ready"))
    loop.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
