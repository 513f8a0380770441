"""Makes run_records.py and sample_run.py of the neighbouring tests importable here."""

import sys
from pathlib import Path

for neighbour in ("measure", "report"):
    sys.path.insert(0, str(Path(__file__).parent.parent / neighbour))
