"""Audio whose words nobody wrote down: kept beside the corpus, with a table to write them into and import again."""

import csv
from pathlib import Path

from harness.corpus.importing.store import ImportRecord

LIST_NAME = "untranscribed.tsv"
_COLUMNS = ("path", "transcript", "accent", "native", "speaker", "licence", "id", "seconds")


def write_list(out: Path, record: ImportRecord) -> Path | None:
    """Write the table of `record`'s untranscribed clips; return it, or None where there are none.

    A table that is there already is added to, so that what was written into it stays.
    """
    rows = [
        outcome.entry
        for outcome in record.outcomes()
        if outcome.status == "untranscribed" and outcome.entry is not None
    ]
    if not rows:
        return None
    path = out / LIST_NAME
    listed: set[str] = set()
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            listed = {line.split("\t", 1)[0].rstrip("\r\n") for line in file}
    with path.open("a", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        if not listed:
            table.writerow(_COLUMNS)
        for entry in rows:
            if entry["path"] not in listed:
                native = {True: "yes", False: "no", None: ""}[entry["native"]]
                seconds = f"{entry['duration_ms'] / 1000:.2f}"
                fixed = (entry["path"], "", entry["accent"], native, entry["speaker"], entry["licence"])
                table.writerow([*fixed, entry["id"], seconds])
    return path
