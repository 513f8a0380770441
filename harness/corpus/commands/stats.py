"""`callquake corpus stats`: how much of what a corpus holds."""

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from harness.corpus.commands.options import Commands, add_command, add_corpus, add_filters, chosen_clips
from harness.corpus.commands.table import aligned
from harness.corpus.entry import Utterance
from harness.corpus.manifest import load_corpus
from harness.exit_codes import ExitCode

_EXAMPLES = """\
  callquake corpus stats
  callquake corpus stats --by speaker --corpus my-callers
  callquake corpus stats --accent chinese-l1 --json
"""
_ROWS = ("accent", "speaker", "domain", "vocabulary", "native", "licence")


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "stats",
        "clips and seconds by accent and condition, levels, size, sentences",
        "Count a corpus: clips by accent and condition, speech and its level, speakers, sentences, bytes, licences.\n"
        "From the manifest; `corpus check` measures.",
        _EXAMPLES,
    )
    add_corpus(parser)
    add_filters(parser)
    parser.add_argument("--by", choices=_ROWS, default="accent", help="what a row is; default: %(default)s")
    parser.add_argument("--json", action="store_true", help="the same numbers as JSON")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Print the counts."""
    clips = chosen_clips(load_corpus(options.corpus, verify=False), options)
    if options.json:
        print(json.dumps(totals(clips) | {"rows": _rows_json(clips, options.by)}, indent=1, ensure_ascii=False))
        return ExitCode.PASSED
    for line in _table(clips, options.by):
        print(line)
    print()
    for name, value in totals(clips).items():
        print(f"{name.replace('_', ' '):22} {_spell(value)}")
    return ExitCode.PASSED


def totals(clips: Sequence[Utterance]) -> dict[str, Any]:
    """Return counts over all clips: how many, how long, how loud, how large, and how many files are not there."""
    sizes = [clip.file.stat().st_size if clip.file.is_file() else None for clip in clips]
    levels = sorted(clip.speech_level_dbfs for clip in clips)
    return {
        "clips": len(clips),
        "clean_clips": sum(clip.is_clean for clip in clips),
        "seconds": round(sum(clip.duration_ms for clip in clips) / 1000, 1),
        "speech_seconds": round(sum(clip.speech_end_ms - clip.speech_start_ms for clip in clips) / 1000, 1),
        "accents": len({clip.accent for clip in clips}),
        "speakers": len({clip.speaker for clip in clips}),
        "sentences": len({clip.sentence_id for clip in clips}),
        "conditions": len({clip.condition for clip in clips}),
        "domains": len({clip.domain for clip in clips}),
        "level_dbfs": {"least": levels[0], "median": levels[len(levels) // 2], "most": levels[-1]},
        "bytes": sum(size for size in sizes if size is not None),
        "missing_files": sizes.count(None),
        "licences": sorted({clip.licence for clip in clips}),
    }


def _table(clips: Sequence[Utterance], by: str) -> list[str]:
    """Rows down, conditions across; a cell is clips and their seconds."""
    cells: dict[tuple[str, str], list[Utterance]] = defaultdict(list)
    for clip in clips:
        for row in (_value(clip, by), "all"):
            for column in (clip.condition, "all"):
                cells[row, column].append(clip)
    rows = [*dict.fromkeys(_value(clip, by) for clip in clips), "all"]
    columns = [*dict.fromkeys(clip.condition for clip in clips), "all"]
    if len(columns) > _MOST_COLUMNS:
        # Rows and columns change places, so that no line is wider than people read.
        listed = [[column, *(_cell(cells.get((row, column), [])) for row in rows)] for column in columns]
        return aligned(["clips (seconds)", *rows], listed, right=rows)
    listed = [[row, *(_cell(cells.get((row, column), [])) for column in columns)] for row in rows]
    return aligned(["clips (seconds)", *columns], listed, right=columns)


_MOST_COLUMNS = 8


def _cell(clips: Sequence[Utterance]) -> str:
    return f"{len(clips)} ({sum(clip.duration_ms for clip in clips) / 1000:.0f})" if clips else "-"


def _rows_json(clips: Sequence[Utterance], by: str) -> list[dict[str, Any]]:
    cells: dict[tuple[str, str], list[Utterance]] = defaultdict(list)
    for clip in clips:
        cells[_value(clip, by), clip.condition].append(clip)
    return [
        {by: row, "condition": column, "clips": len(held), "seconds": sum(clip.duration_ms for clip in held) / 1000}
        for (row, column), held in cells.items()
    ]


def _value(clip: Utterance, name: str) -> str:
    value = getattr(clip, name)
    return {True: "native", False: "non-native", None: "unknown"}[value] if name == "native" else str(value)


def _spell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {part:.1f}" for name, part in value.items())
    return "; ".join(value) if isinstance(value, list) else f"{value:,}"
