"""The edge's bench (`edge_peer`) is an agent to probe."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "target_stack"))
