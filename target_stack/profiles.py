"""The profiles of `up`, and the options whose default depends on them: None on the command line until `settle`."""

import argparse
from collections.abc import Mapping

from harness.model.errors import ScenarioError

# By profile: each option's default. 0 under emulated: what the file of service times says.
PROFILES: Mapping[str, Mapping[str, object]] = {
    "cpu": {
        "stt_workers": 1,
        "tts_workers": 1,
        "tts_batch": 1,
        "waiting": 16,
        "vad": "silero",
        "webrtc": "aiortc",
        "llm": "real",
        "stt_device": "cpu",
        "tts_engine": "onnx",
        "tts_device": "cpu",
    },
    # Float16 Whisper, Kokoro in PyTorch behind the batch queue, vLLM. A GPU takes a batch as fast as a sentence.
    "gpu": {
        "stt_workers": 2,
        "tts_workers": 1,
        "tts_batch": 8,
        "waiting": 64,
        "vad": "silero",
        "webrtc": "light",
        "llm": "vllm",
        "stt_device": "cuda",
        "tts_engine": "torch",
        "tts_device": "cuda",
    },
    "emulated": {
        "stt_workers": 0,
        "tts_workers": 0,
        "tts_batch": 0,
        "waiting": 0,
        "vad": "level",
        "webrtc": "light",
        "llm": "real",
        "stt_device": "cpu",
        "tts_engine": "onnx",
        "tts_device": "cpu",
    },
}


def settle(options: argparse.Namespace) -> argparse.Namespace:
    """Return the options with the profile's defaults in place of None. Raises ScenarioError for an unknown profile."""
    profile, legal = options.profile, ", ".join(PROFILES)
    if profile not in PROFILES:
        raise ScenarioError(f"--profile {profile}: no such profile; legal: {legal}")
    missing = {name: value for name, value in PROFILES[profile].items() if getattr(options, name, None) is None}
    return argparse.Namespace(**(vars(options) | missing))
