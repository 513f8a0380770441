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
    },
    "emulated": {
        "stt_workers": 0,
        "tts_workers": 0,
        "tts_batch": 0,
        "waiting": 0,
        "vad": "level",
        "webrtc": "light",
        "llm": "real",
    },
}
PLANNED_PROFILES = ("gpu",)


def settle(options: argparse.Namespace) -> argparse.Namespace:
    """Return the options with the profile's defaults in place of None. Raises ScenarioError for an unknown profile."""
    profile, legal = options.profile, ", ".join(PROFILES)
    if profile in PLANNED_PROFILES:
        raise ScenarioError(f"--profile {profile}: not built yet; legal: {legal}")
    if profile not in PROFILES:
        raise ScenarioError(f"--profile {profile}: no such profile; legal: {legal}")
    missing = {name: value for name, value in PROFILES[profile].items() if getattr(options, name, None) is None}
    return argparse.Namespace(**(vars(options) | missing))
