"""The corpus's utterances as clips, encoded once for each codec that a call speaks."""

from functools import partial

from harness.corpus.audio import read_pcm
from harness.corpus.manifest import Corpus
from harness.media.clips import Clip, encode_clip
from harness.media.codecs import Codec


class ClipStore:
    """Utterances of a corpus encoded once per codec, on first use; may be asked from any thread."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self._clips: dict[tuple[str, int], Clip] = {}

    def has(self, utterance_id: str, codec: Codec) -> bool:
        """Tell whether `clip` will return at once."""
        return (utterance_id, codec.index) in self._clips

    def clip(self, utterance_id: str, codec: Codec) -> Clip:
        """Return `utterance_id` encoded by `codec`: always the same object, though two threads may race to make it."""
        key = (utterance_id, codec.index)
        found = self._clips.get(key)
        if found is None:
            spoken = self._corpus.utterances[utterance_id]
            read = partial(read_pcm, spoken, codec.sample_rate)
            edges = spoken.speech_start_ms, spoken.speech_end_ms
            made = encode_clip(utterance_id, read(), *edges, codec, read_samples=read)
            found = self._clips.setdefault(key, made)
        return found
