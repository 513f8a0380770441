"""Makes the records and runs of the measure and report tests importable here."""

import sys
from pathlib import Path

for folder in ("measure", "report"):
    sys.path.insert(0, str(Path(__file__).parent.parent / folder))
