"""`python -m benchmarks.table FILE...`: the table of docs/benchmarks.md, from what `--json` wrote.

With `--into FILE` it replaces what stands between the marks in that page.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.comparison import OURS, Spread
from benchmarks.failure import BenchmarkError

BEGIN = "<!-- table: written by `python -m benchmarks.table`; do not edit -->"
END = "<!-- end of table -->"


def _spread(raw: dict[str, Any]) -> str:
    return str(Spread(raw["median"], raw["min"], raw["max"], raw["n"]))


def _notes(competitor: dict[str, Any]) -> str:
    """Return what the last sample timed, and how many samples were flagged, with each kind of flag once."""
    notes = [sample["turns"] for sample in competitor["samples"][-1:] if sample.get("turns")]
    flagged = [sample["flags"] for sample in competitor["samples"] if sample.get("flags")]
    if flagged:
        # Flags of one kind differ in their figures only.
        kinds = {re.sub(r"[\d.,]+", "", flag): flag for flags in flagged for flag in flags}
        notes.append(f"{len(flagged)} of {competitor['n']} samples flagged: {', '.join(kinds.values())}")
    return "; ".join(notes)


def _calls(competitor: dict[str, Any]) -> str:
    """Return how many calls a competitor carried while it was measured."""
    numbers = {sample["calls"] for sample in competitor["samples"] if "calls" in sample}
    return ", ".join(f"{n:,}" for n in sorted(numbers))


def rows(document: dict[str, Any]) -> list[str]:
    """Return the table's lines of one comparison: ours, then each peer with its ratio."""
    name = f"{document['benchmark']}: {document['unit']}"
    ours = document["ours"]
    lines = [f"| {name} | {OURS} | {_calls(ours)} | {_spread(ours)} |  | {_notes(ours)} |"]
    for peer, measured in document["peers"].items():
        ratio = document["ratios"].get(peer)
        told = _spread(ratio) if ratio else "not measured"
        lines.append(f"| | {peer} | {_calls(measured)} | {_spread(measured)} | {told} | {_notes(measured)} |")
    for peer, reason in document.get("not_applicable", {}).items():
        lines.append(f"| | {peer} | | not applicable | | {reason} |")
    return lines


def machine_line(name: str, document: dict[str, Any]) -> str:
    """Return on which machine, and with which versions, a document was written."""
    facts = document["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in facts["packages"].items() if version)
    peers = ", ".join(f"{name} {version}" for name, version in facts.get("peers", {}).items())
    return (
        f"- {name}: {facts['date']}, commit {facts['commit']}; {facts['cpu']}, {facts['cores']} cores"
        f"{' (virtual)' if facts['hypervisor'] else ''}, Linux {facts['kernel']}, Python {facts['python']}, {packages}"
        + (f"; {peers}" if peers else "")
    )


def table(documents: Sequence[dict[str, Any]]) -> str:
    """Return the whole Markdown: the table, then what machine and versions each figure belongs to."""
    head = [
        "| comparison | who | calls | median (lowest-highest, samples) | ours is better by | notes |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    body = [line for document in documents for line in rows(document)]
    return "\n".join([*head, *body, "", *(machine_line(document["benchmark"], document) for document in documents)])


def replaced(page: str, content: str, begin: str = BEGIN, end: str = END) -> str:
    """Return the page with `content` between its marks."""
    before, mark, rest = page.partition(begin)
    _old, closing, after = rest.partition(end)
    if not mark or not closing:
        raise BenchmarkError(f"the page has no table to replace: it needs the lines '{begin}' and '{end}'")
    return f"{before}{begin}\n{content}\n{end}{after}"


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BenchmarkError(f"{path}: {error}") from error
    if not isinstance(document, dict) or "ratios" not in document:
        raise BenchmarkError(f"{path} was not written by a benchmark's --json")
    return document


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, or write it into a page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.table", description=__doc__)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="written by a benchmark's --json")
    parser.add_argument("--into", type=Path, metavar="PAGE", help="replace the table of this page")
    options = parser.parse_args(arguments)
    try:
        content = table([_read(path) for path in options.files])
        if options.into is None:
            print(content)
        else:
            options.into.write_text(replaced(options.into.read_text(), content))
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
