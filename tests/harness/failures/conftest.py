"""Where the samples of other folders are found."""

import sys
from pathlib import Path

HARNESS = Path(__file__).parents[1]
sys.path[:0] = [str(HARNESS / "report"), str(HARNESS / "measure")]
