"""A failure file to be changed, and JSON to be changed."""

import json
from pathlib import Path

import yaml

FAILURE = {
    "failure": {
        "title": "One line too few",
        "symptom": "Calls are refused",
        "cause": "Too few lines",
        "fix": "more lines",
        "models": "emulated",
    },
    "target": {"up": ["--profile", "emulated"], "url": "{origin}/api/offer"},
    "fix_off": {"up": ["--max-calls", 1]},
    "fix_on": {"up": ["--max-calls", 9], "scenario": {"limits": {"call_timeout_s": 20}}},
    "symptoms": [{"metric": "error_rate", "direction": "up", "by": 0.2}],
    "scenario": {
        "seed": 1,
        "callers": [{"name": "all", "select": {"condition": ["clean"]}, "turns": 1}],
        "load": {"arrivals": {"distribution": "uniform", "rate_per_minute": 60, "calls": 6}},
        "limits": {"answer_timeout_s": 5, "call_timeout_s": 30},
        "thresholds": ["error_rate < 0.01"],
    },
}


def write(folder: Path, name: str = "one_line", **changes) -> Path:
    """Write the sample with some keys changed; None leaves a key out."""
    whole = {key: value for key, value in {**FAILURE, **changes}.items() if value is not None}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(whole, sort_keys=False))
    return path


def change_json(path: Path, **changes) -> None:
    """Change keys of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
