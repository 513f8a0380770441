"""A speaker without a model, and a recipe small enough to build in a second."""

import numpy as np

from harness.calibrate.voice import voiced
from harness.corpus.accents import with_accent
from harness.corpus.build_cache import key_of
from harness.corpus.recipe import Recipe

RATE = 48000


class ScriptedVoice:
    """Says 40 ms of voice a letter, between 120 and 300 ms of silence; counts what it was asked to say."""

    def __init__(self, fails_at=None, error=KeyboardInterrupt):
        self.said = []
        self._fails_at, self._error = fails_at, error

    def phonemes(self, text, accent, *, goes_on=False):
        return with_accent(text.lower(), accent.rules) + ("," if goes_on else "")

    def key(self, phonemes, speaker, speed=1.0):
        return key_of("scripted", phonemes, speaker, speed)

    def say(self, phonemes, speaker, speed=1.0):
        if len(self.said) == self._fails_at:
            raise self._error
        self.said.append((speaker, phonemes))
        tone = voiced(40 * len(phonemes) / speed, RATE)
        gain = 0.5 + 0.1 * (sum(speaker.encode()) % 5)
        return np.concatenate([np.zeros(5760), gain * tone, np.zeros(14400)]).astype(np.int16)


def small_recipe(**changes):
    """Two accents, five sentences, three conditions."""
    rule = {"from": "w", "to": "v", "what": "one", "word": "we", "before": "we", "after": "ve"}
    document = {
        "schema_version": 2,
        "seed": 5,
        "opus_bit_rate": 24000,
        "licence": "Apache-2.0",
        "speech": {"level_dbfs": -26, "lead_ms": 200, "tail_ms": 200},
        "accents": {
            "plain": {"native": True, "language": "en-us", "speakers": ["ann", "bob"]},
            "other": {"native": False, "language": "en-gb", "speakers": ["cid"], "source": "x", "rules": [rule]},
        },
        "sentences": [
            {"id": "one", "domain": "orders", "text": "Where was it sent"},
            {"id": "two", "domain": "numbers", "text": "Four two one nine", "entities": ["Four two"]},
            {"id": "wait", "domain": "pause", "text": "It is <900> number nine <300> or so"},
            {"id": "yes", "domain": "yes-no", "text": "Yes please do", "voices": {"other": "cid"}},
            {"id": "no", "domain": "yes-no", "text": "No thank you sir"},
        ],
        "noises": {"street": {"kind": "street", "bed_ms": 5000}},
        "conditions": [
            {"noise": "street", "snr_db": 5},
            {"channel": "phone-g711-ulaw"},
            {"noise": "street", "snr_db": 5, "distortion": "low-level", "channel": "phone"},
        ],
        "shipped": [
            {"sentences": ["one", "two"], "accents": "all", "conditions": ["street-5db", "phone-g711-ulaw"]},
            {"domains": ["pause"], "accents": "all"},
            {"rest": True, "accents": "one", "conditions": ["street-5db", "street-5db-low-level-phone"], "each": "one"},
        ],
    }
    return Recipe.model_validate(document | changes)
