"""The layouts that `--format` names, and which of them a source has."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.corpus.importing import calls, common_voice, folder, kaldi, librispeech, ljspeech, table
from harness.corpus.importing.items import Listing
from harness.corpus.importing.options import SourceOptions
from harness.model.errors import ScenarioError


@dataclass(frozen=True, slots=True)
class Layout:
    """A way in which recordings and their words lie on disk."""

    name: str
    # Why a source has this layout, or None.
    find: Callable[[Path], str | None]
    read: Callable[[SourceOptions], Listing]


# In the order in which they are looked for: the particular before the general.
LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout("kaldi", kaldi.find, kaldi.read),
        Layout("common-voice", common_voice.find, common_voice.read),
        Layout("librispeech", librispeech.find, librispeech.read),
        Layout("ljspeech", ljspeech.find, ljspeech.read),
        Layout("dual-channel", calls.find, calls.read),
        Layout("table", table.find, table.read),
        Layout("folder", folder.find, folder.read),
    )
}
AUTO = "auto"


def find_layout(source: Path, name: str = AUTO) -> tuple[Layout, str]:
    """Return the layout of `source` and why it is that one. Raises ScenarioError where it has none."""
    if not source.exists():
        raise ScenarioError(f"{source}: not there; SOURCE is a folder, a table or a recording")
    if name != AUTO:
        return LAYOUTS[name], "asked for"
    try:
        for layout in LAYOUTS.values():
            why = layout.find(source)
            if why is not None:
                return layout, why
    except OSError as error:
        raise ScenarioError(f"{source}: cannot be read: {error.strerror}") from error
    raise ScenarioError(
        f"{source}: no layout recognised; --format names one of {', '.join(LAYOUTS)}. A table needs a header with a "
        "column for the path and one for the transcript (--format table --map COLUMN=path --map COLUMN=transcript)"
    )
