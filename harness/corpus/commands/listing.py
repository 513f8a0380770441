"""`callquake corpus list`: the clips, one a line."""

import argparse
import json

from harness.corpus.commands.options import Commands, add_command, add_corpus, add_filters, chosen_clips
from harness.corpus.commands.table import aligned
from harness.corpus.entry import Utterance
from harness.corpus.manifest import load_corpus
from harness.exit_codes import ExitCode

_EXAMPLES = """\
  callquake corpus list --accent hindi-l1 --condition clean
  callquake corpus list --domain orders --native no --match 'four five'
  callquake corpus list --corpus my-callers --tag doubtful
  callquake corpus list --json --noise babble | jq -r '.[].id'
"""
_COLUMNS = ("id", "accent", "speaker", "condition", "domain", "seconds", "dBFS", "transcript")


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "list",
        "one line a clip, all or those that match",
        "List clips: what is said, by whom, under which condition. The ids are what scenarios (`ids`),\n"
        "`callquake probe --say` and `callquake corpus play` take.",
        _EXAMPLES,
    )
    add_corpus(parser)
    add_filters(parser)
    parser.add_argument("--json", action="store_true", help="the manifest's entries, as a JSON list")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Print the chosen clips; hashes are not checked, `corpus check` does that."""
    clips = chosen_clips(load_corpus(options.corpus, verify=False), options)
    if options.json:
        print(json.dumps([clip.to_json() for clip in clips], indent=1, ensure_ascii=False))
        return ExitCode.PASSED
    for line in aligned(_COLUMNS, [_row(clip) for clip in clips], right=("seconds", "dBFS")):
        print(line)
    print(f"{len(clips)} clips, {sum(clip.duration_ms for clip in clips) / 60_000:.1f} minutes")
    return ExitCode.PASSED


def _row(clip: Utterance) -> tuple[str, ...]:
    seconds, level = f"{clip.duration_ms / 1000:.2f}", f"{clip.speech_level_dbfs:.1f}"
    return clip.id, clip.accent, clip.speaker, clip.condition, clip.domain, seconds, level, clip.transcript
