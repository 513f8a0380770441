"""The engine's bench and its corpus serve these tests too."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "engine"))
