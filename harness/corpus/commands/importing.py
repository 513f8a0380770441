"""`callquake corpus import`: recordings of your own as a corpus."""

import argparse
import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from harness.corpus.commands.options import Commands, add_command
from harness.corpus.entry import VOCABULARIES
from harness.exit_codes import ExitCode
from harness.model.errors import ScenarioError

if TYPE_CHECKING:
    from harness.corpus.importing.run import Imported

_FORMATS = ("auto", "folder", "common-voice", "librispeech", "kaldi", "ljspeech", "dual-channel", "table")
_DESCRIPTION = """\
Make a corpus of recordings of your own. Each is decoded, measured (speech edges, level, noise, clipping) and kept as
FLAC with its words, accent and licence. A file that cannot be used costs one line with its name and the reason, never
the rest; one that is odd is taken, tagged `doubtful`, and listed.

what SOURCE may be (--format auto finds out, and says why):
  folder        recordings with x.txt or x.lab beside x.wav, or one transcripts.csv|tsv|txt (name, text)
  common-voice  a release of Mozilla Common Voice, or one of its .tsv files beside clips/
  librispeech   SPEAKER/CHAPTER/*.flac with *.trans.txt; SPEAKERS.TXT is read where it is
  kaldi         a data directory: wav.scp, text, and utt2spk, segments, spk2gender; commands in wav.scp are never run
  ljspeech      metadata.csv (ID|TEXT) and wavs/
  table         a .tsv, .csv or .jsonl file with columns like path, transcript, accent, native, speaker, licence
  dual-channel  stereo calls; the caller's channel is cut where it pauses. x.txt beside x.wav has one utterance a line,
                or labels (start, end and text, by tabs)
"""
_EXAMPLES = """\
  callquake corpus import recordings --out my-callers --licence 'internal, consent of 2026-03'
  callquake corpus import cv-corpus-22/en/validated.tsv --out cv --licence CC0-1.0
  callquake corpus import LibriSpeech/test-clean --out libri --licence CC-BY-4.0 --accent american --native yes
  callquake corpus import list.csv --out mine --licence internal --map wav=path --map said=transcript --map l1=accent
  callquake corpus import MANIFEST.tsv --out people --where kind=speech
  callquake corpus import calls --format dual-channel --caller-channel left --out callers --licence internal \\
      --without-transcripts
  callquake corpus list --corpus my-callers --tag doubtful

Run it again and only what is new or changed is done again; run it for another SOURCE into the same folder and that is
added. Ctrl-C keeps what is done. OUT/import.json says what became of every file. docs/import.md.

exit codes: 0 something is in the corpus (what was refused is listed), 104 nothing is, or --strict and something was
refused, or a wrong option, 105 interrupted.
"""


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = add_command(commands, "import", "recordings of your own as a corpus", _DESCRIPTION, _EXAMPLES)
    parser.add_argument("source", type=Path, metavar="SOURCE", help="a folder, a table or a recording")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the corpus")
    parser.add_argument("--format", choices=_FORMATS, default="auto", help="default: %(default)s")
    _add_facts(parser.add_argument_group("what holds where the source says nothing else"))
    _add_reading(parser.add_argument_group("how the source is read"))
    _add_clips(parser.add_argument_group("how clips are made"))
    parser.set_defaults(command=run)


def _add_facts(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--licence", metavar="TEXT", help="needed, unless the source has a licence for each recording")
    group.add_argument("--accent", metavar="NAME", help="default: unknown")
    group.add_argument("--native", choices=("yes", "no"), help="default: nobody knows")
    group.add_argument("--speaker", metavar="NAME", help="default: unknown")
    group.add_argument("--folder-names", choices=("accent", "speaker"), help="what the folder a file lies in tells")
    group.add_argument("--vocabulary", choices=VOCABULARIES, default="general", help="default: %(default)s")
    group.add_argument("--domain", metavar="NAME", default="general", help="default: %(default)s")
    group.add_argument("--tag", action="append", default=[], metavar="TEXT", help="for every clip; may be repeated")


def _add_reading(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--map", action="append", default=[], metavar="COLUMN=FIELD", help="what a table's column is; may be repeated"
    )
    group.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="COLUMN=VALUE",
        help="only these rows; repeated: any of the values",
    )
    group.add_argument(
        "--audio-root",
        type=Path,
        metavar="DIR",
        help="what a table's paths are relative to, and the only folder read from",
    )
    group.add_argument("--encoding", default="utf-8", metavar="NAME", help="of transcripts; default: %(default)s")
    group.add_argument("--prefix", default="", metavar="NAME", help="begins every id, to set sources apart")


def _add_clips(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--caller-channel", choices=("left", "right"), help="of stereo files; calls: left, else their mean"
    )
    group.add_argument("--pause-ms", type=int, default=700, metavar="MS", help="cut calls there; default: %(default)s")
    group.add_argument("--trim-ms", type=int, metavar="MS", help="keep so much around speech; default: all there is")
    group.add_argument("--longest-s", type=float, default=120.0, metavar="S", help="of a clip; default: %(default)g")
    group.add_argument(
        "--without-transcripts",
        action="store_true",
        help="keep audio without words in OUT/untranscribed, listed in OUT/untranscribed.tsv to fill in and import",
    )
    group.add_argument("--jobs", type=int, metavar="N", help="processes; default: one a core")
    group.add_argument("--strict", action="store_true", help="exit with 104 where anything was refused")


def run(options: argparse.Namespace) -> int:
    """Import, then say what came of it."""
    from harness.corpus.importing.options import ClipOptions, SourceOptions  # noqa: PLC0415  loads numpy, the decoder
    from harness.corpus.importing.progress import Progress  # noqa: PLC0415  same
    from harness.corpus.importing.run import check_request, run_import  # noqa: PLC0415  same

    # Readers join paths to it; the folder that a relative one begins at is said once.
    source_path: Path = options.source.absolute()
    folder = source_path if source_path.is_dir() else source_path.parent
    source = SourceOptions(
        source=source_path,
        audio_root=folder if options.audio_root is None else options.audio_root.absolute(),
        out=options.out,
        licence=_text(options.licence),
        accent=_name("--accent", options.accent),
        native={"yes": True, "no": False, None: None}[options.native],
        speaker=_text(options.speaker),
        vocabulary=options.vocabulary,
        domain=_name("--domain", options.domain) or "general",
        tags=tuple(filter(None, map(_text, options.tag))),
        columns=_columns(options.map),
        where=_wanted(options.where),
        encoding=_encoding(options.encoding),
        folder_names=options.folder_names,
    )
    clips = ClipOptions(
        out=options.out,
        longest_s=_at_least("--longest-s", options.longest_s, 0.1),
        channel=options.caller_channel,
        is_call=options.format == "dual-channel",
        pause_ms=int(_at_least("--pause-ms", options.pause_ms, 100)),
        trim_ms=None if options.trim_ms is None else int(_at_least("--trim-ms", options.trim_ms, 0)),
        keep_untranscribed=options.without_transcripts,
        prefix=f"{_name('--prefix', options.prefix)}-" if options.prefix else "",
    )
    check_request(source, clips)
    jobs = len(os.sched_getaffinity(0)) if options.jobs is None else int(_at_least("--jobs", options.jobs, 0))
    done = run_import(source, clips, options.format, Progress, jobs=jobs)
    return _report(done, options.out, options.strict)


def _report(done: "Imported", out: Path, is_strict: bool) -> int:
    from harness.corpus.importing.store import count_by_status  # noqa: PLC0415  loads numpy, the decoder

    counts = count_by_status(done.record)
    taken = counts["imported"] + counts["doubtful"]
    print(f"{taken} imported ({counts['doubtful']} of them doubtful), {counts['refused']} refused", end="")
    print(f", {counts['untranscribed']} without transcript kept aside" if counts["untranscribed"] else "", end="")
    others = sum(ignored.kind == "no recording" for ignored in done.record.ignored)
    print(f", {others} files that are no recordings" if others else "", end="")
    print(f"; {done.known} files were known from before" if done.known else "")
    kinds = Counter(refusal.kind for refusal in done.record.refused)
    kinds += Counter(outcome.kind for outcome in done.record.outcomes() if outcome.kind)
    if kinds:
        print("refused: " + ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()))
    print(f"{out}: {done.clips} clips; import.json says what became of each file")
    if done.was_interrupted:
        print("interrupted: run the same command again to go on", file=sys.stderr)
        return ExitCode.INTERRUPTED
    is_nothing = not taken and not counts["untranscribed"]
    return ExitCode.BAD_SCENARIO if is_nothing or (is_strict and counts["refused"]) else ExitCode.PASSED


def _columns(pairs: list[str]) -> dict[str, str]:
    from harness.corpus.importing.fields import ALIASES  # noqa: PLC0415  same

    columns = {}
    for column, field in (_pair("--map", "COLUMN=FIELD", text) for text in pairs):
        if field not in ALIASES:
            raise ScenarioError(f"--map {column}={field}: no field {field!r}; legal: {', '.join(ALIASES)}")
        columns[column] = field
    return columns


def _wanted(pairs: list[str]) -> dict[str, frozenset[str]]:
    wanted: dict[str, frozenset[str]] = {}
    for column, value in (_pair("--where", "COLUMN=VALUE", text) for text in pairs):
        wanted[column] = wanted.get(column, frozenset()) | {value}
    return wanted


def _pair(option: str, form: str, text: str) -> tuple[str, str]:
    left, equals, right = text.partition("=")
    if not equals or not left:
        raise ScenarioError(f"{option} {text}: legal: {form}")
    return left, right


def _name(option: str, text: str | None) -> str | None:
    from harness.corpus.importing.texts import slug  # noqa: PLC0415  light, but beside the others

    if text is not None and slug(text) != text:
        raise ScenarioError(
            f"{option} {text!r}: legal: lower-case letters, digits and hyphens, like {slug(text) or 'a-name'!r}"
        )
    return text


def _text(text: str | None) -> str | None:
    return " ".join(text.split()) or None if text is not None else None


def _encoding(name: str) -> str:
    try:
        "".encode(name)
    except LookupError:
        raise ScenarioError(f"--encoding {name}: unknown; legal: names like utf-8, latin-1, cp1252, utf-16") from None
    return name


def _at_least(option: str, value: float, least: float) -> float:
    if not least <= value < 1e9:
        raise ScenarioError(f"{option} {value:g}: legal: {least:g} or more")
    return value
