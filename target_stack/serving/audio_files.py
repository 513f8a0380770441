"""Audio as speech servers are given it, and give it: WAV in, PCM or WAV out."""

import io
import struct
import wave
from collections.abc import Iterator

import av
import numpy as np

from target_stack.frames import INPUT_RATE, SPEECH_RATE, Pcm
from target_stack.pipeline.listening import Heard
from target_stack.pipeline.parts import CutSearch, PartRules
from target_stack.stages.vad import CHUNK_MS, CHUNK_SAMPLES, VoiceActivity

# OpenAI's bounds of an upload and of what is to be spoken.
MOST_BYTES = 25 * 1024 * 1024
MOST_S = 600.0
_RATES = range(8_000, 48_001)
_SAMPLE_BYTES = 2


class BadAudioError(ValueError):
    """What was sent is no audio that can be used; says what is legal."""


def samples_of(data: bytes) -> Pcm:
    """Return a WAV file's audio as int16 mono at INPUT_RATE. Raises BadAudioError."""
    try:
        with wave.open(io.BytesIO(data)) as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            frames = file.readframes(file.getnframes())
    except (wave.Error, EOFError, struct.error) as error:
        raise BadAudioError(f"file: no WAV file ({error}); legal: WAV, 16-bit PCM, 8 to 48 kHz") from error
    if width != _SAMPLE_BYTES or rate not in _RATES or channels not in (1, 2):
        told = f"{channels} channels of {8 * width} bits at {rate} Hz"
        raise BadAudioError(f"file: {told}; legal: WAV, 1 or 2 channels, 16-bit PCM, 8 to 48 kHz")
    whole = len(frames) // (_SAMPLE_BYTES * channels) * _SAMPLE_BYTES * channels
    samples = np.frombuffer(frames[:whole], "<i2").astype(np.int16)
    if channels == 2:
        samples = samples.reshape(-1, 2).astype(np.int32).mean(axis=1).astype(np.int16)
    if not samples.size or len(samples) > MOST_S * rate:
        raise BadAudioError(f"file: {len(samples) / rate:.1f} s of audio; legal: more than none, at most {MOST_S:g} s")
    return samples if rate == INPUT_RATE else _resampled(samples, rate)


def _resampled(samples: Pcm, rate: int) -> Pcm:
    resampler = av.AudioResampler(format="s16", layout="mono", rate=INPUT_RATE)
    frame = av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
    frame.sample_rate = rate
    parts = [part.to_ndarray().reshape(-1) for given in (frame, None) for part in resampler.resample(given)]
    return np.concatenate(parts).astype(np.int16) if parts else np.zeros(0, np.int16)


def parts_of(samples: Pcm, vad: VoiceActivity, rules: PartRules) -> Iterator[tuple[Pcm, bool]]:
    """Yield the stretches that a recogniser takes whole, and whether each shares its first words with the one before.

    Cut as the agent cuts a long utterance while it is spoken: in pauses, or, where there are none, where it is quiet.
    """
    if len(samples) <= rules.longest_ms * INPUT_RATE / 1000:
        yield samples, False
        return
    whole = -(-len(samples) // CHUNK_SAMPLES) * CHUNK_SAMPLES
    padded = np.pad(samples, (0, whole - len(samples)))
    voice = [vad.probability(padded[at : at + CHUNK_SAMPLES]) for at in range(0, whole, CHUNK_SAMPLES)]
    heard, is_overlapping = Heard(padded, np.array(voice, np.float32)), False
    while heard.chunks * CHUNK_MS > rules.longest_ms and (cut := CutSearch(rules).look(heard)) is not None:
        yield heard.until(cut.end).samples, is_overlapping
        heard, is_overlapping = heard.since(cut.start), cut.is_in_speech
    yield heard.samples, is_overlapping


def wav_head(samples: int) -> bytes:
    """Return the head of a WAV file of so many samples at SPEECH_RATE, 16-bit mono."""
    size = samples * _SAMPLE_BYTES
    form = struct.pack("<HHIIHH", 1, 1, SPEECH_RATE, SPEECH_RATE * _SAMPLE_BYTES, _SAMPLE_BYTES, 8 * _SAMPLE_BYTES)
    head = struct.pack("<4sI4s4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", len(form))
    return head + form + struct.pack("<4sI", b"data", size)
