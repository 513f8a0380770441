"""The benches of the end-to-end tests (`product`) and of the edge's tests (`edge_peer`) serve these tests too."""

import sys
from pathlib import Path

sys.path += [str(Path(__file__).parents[1] / name) for name in ("end_to_end", "target_stack", "harness/callers")]
