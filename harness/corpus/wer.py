"""How hard is the corpus? Word error rate of a local faster-whisper model, by accent and noise, in idle conditions.

A tool for whoever builds a corpus. The WER of a run is measured elsewhere, on what the agent's own STT returned.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from harness.corpus.audio import read_pcm
from harness.corpus.entry import Utterance
from harness.measure.normaliser import normalise
from harness.model.errors import ScenarioError

STT_RATE = 16000
Heard = list[tuple[Utterance, str]]


def transcribe(clips: Iterable[Utterance], model_dir: Path, say: Callable[[str], None]) -> Heard:
    """Return what the model hears in each clip (greedy, int8, no context between clips)."""
    try:
        from faster_whisper import WhisperModel  # noqa: PLC0415  heavy, and only of the cpu extra
    except ImportError as error:
        raise ScenarioError(f"`corpus wer` needs `pip install -e '.[cpu]'` in the checkout: {error}") from error
    if not (model_dir / "model.bin").is_file():
        raise ScenarioError(f"{model_dir}: holds no model.bin; `callquake models fetch` gets a faster-whisper model")
    model = WhisperModel(str(model_dir), device="cpu", compute_type="int8", cpu_threads=2)
    heard: Heard = []
    for clip in clips:
        audio = read_pcm(clip, STT_RATE).astype(np.float32) / 32768
        segments, _ = model.transcribe(audio, language="en", beam_size=1, condition_on_previous_text=False)
        text = " ".join(part.text.strip() for part in segments)
        heard.append((clip, text))
        say(f"{clip.id}: {text}")
    return heard


def pooled_wer(heard: Heard) -> tuple[float, int]:
    """Edits over reference words, pooled, and the number of reference words; normalised as in every report."""
    import jiwer  # noqa: PLC0415  loading a corpus must not need it

    out = jiwer.process_words([normalise(clip.transcript) for clip, _ in heard], [normalise(t) for _, t in heard])
    words = out.hits + out.substitutions + out.deletions
    return (out.substitutions + out.deletions + out.insertions) / words, words


def wer_table(heard: Heard) -> str:
    """Accents down, conditions across, with totals; WER in per cent."""
    conditions = list(dict.fromkeys(_condition(clip) for clip, _ in heard))
    accents = list(dict.fromkeys(clip.accent for clip, _ in heard))
    cells: dict[tuple[str, str], Heard] = defaultdict(list)
    for clip, text in heard:
        for row in (clip.accent, "native" if clip.native else "non-native", "all"):
            cells[row, _condition(clip)].append((clip, text))
    lines = [f"{'WER %':14}" + "".join(f"{name:>13}" for name in conditions)]
    for row in [*accents, "native", "non-native", "all"]:
        values = [f"{100 * pooled_wer(cells[row, c])[0]:.1f}" if cells.get((row, c)) else "-" for c in conditions]
        lines.append(f"{row:14}" + "".join(f"{value:>13}" for value in values))
    return "\n".join(lines)


def _condition(clip: Utterance) -> str:
    return clip.noise if clip.snr_db is None else f"{clip.noise} {clip.snr_db:g}"
