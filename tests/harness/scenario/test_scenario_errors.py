"""A wrong scenario file fails with its line, its path in the file and what would be legal."""

import pytest

from harness.model.errors import ScenarioError
from harness.scenario.check import prepare
from harness.scenario.loader import load_scenario

pytestmark = pytest.mark.unit

GOOD = """\
name: good
target:
  url: http://127.0.0.1:9/api/offer
callers:
  - name: anyone
    turns: [1, 2]
load:
  arrivals: {rate_per_minute: 60, calls: 3, distribution: uniform}
limits:
  answer_timeout_s: 20
record: all
thresholds:
  - ttfb_ms p95 < 800
  - {expr: drop_off < 0.5, min_samples: 3}
"""

# What is replaced in GOOD, by what; the line of the error; what the message must hold.
WRONG = {
    "typo of a key": ("limits:", "limts:", 9, ["limts: unknown key", "did you mean limits?", "thresholds"]),
    "typo in a nested key": (
        "rate_per_minute: 60",
        "rate_per_minut: 60",
        8,
        ["load.arrivals.rate_per_minut: unknown key", "did you mean rate_per_minute?"],
    ),
    "missing key": ("name: good\n", "", 1, ["name: missing"]),
    "missing nested key": ("  url: http://127.0.0.1:9/api/offer", "  dialect: json", 2, ["target.url: missing"]),
    "wrong type": ("rate_per_minute: 60", "rate_per_minute: fast", 8, ["load.arrivals.rate_per_minute", "a number"]),
    "negative rate": ("rate_per_minute: 60", "rate_per_minute: -1", 8, ["got -1", "above 0"]),
    "nan": ("rate_per_minute: 60", "rate_per_minute: .nan", 8, ["got nan", "legal"]),
    "whole number": ("calls: 3", "calls: 2.5", 8, ["load.arrivals.calls", "a whole number"]),
    "bool is no number": ("calls: 3", "calls: yes", 8, ["load.arrivals.calls", "a whole number"]),
    "enum": (
        "distribution: uniform",
        "distribution: poison",
        8,
        ["load.arrivals.distribution", "legal: poisson, uniform", "did you mean poisson?"],
    ),
    "no address": ("http://127.0.0.1:9/api/offer", "127.0.0.1:9", 3, ["target.url", "https?://"]),
    "turns zero": ("turns: [1, 2]", "turns: 0", 6, ["callers[0].turns: got 0", "from 1 to 50", "[least, most]"]),
    "turns reversed": ("turns: [1, 2]", "turns: [2, 1]", 6, ["callers[0].turns: got [2, 1]"]),
    "patience": ("turns: [1, 2]", "patience: saintly", 6, ["callers[0].patience", "impatient, normal, patient"]),
    "think": ("turns: [1, 2]", "think_ms: 500", 6, ["callers[0].think_ms", "[300, 900]"]),
    "no caller": ("  - name: anyone\n    turns: [1, 2]", "  []", 4, ["callers: got []", "at least 1"]),
    "weights zero": ("turns: [1, 2]", "weight: 0", 4, ["callers: every weight is 0"]),
    "empty list": ("turns: [1, 2]", "select: {accent: []}", 6, ["callers[0].select.accent", "at least 1"]),
    "not a list": ("turns: [1, 2]", "select: {accent: british}", 6, ["callers[0].select.accent", "a list"]),
    "no end": (", calls: 3", "", 8, ["load.arrivals", "has no end", "duration_s, calls"]),
    "no share": ("record: all", "wer: {share: 0}", 11, ["wer.share: got 0", "above 0"]),
    "no sample": ("record: all", "wer: {at_most: 0.5}", 11, ["wer.at_most", "a whole number"]),
    "typo of the sample": ("record: all", "wer: {atmost: 5}", 11, ["wer.atmost: unknown key", "at_most"]),
    "entities of a kind unknown": (
        "ttfb_ms p95 < 800",
        "entity_accuracy{entity:dates} > 0.9",
        13,
        ["digits, names, mixed"],
    ),
    "two loads": (
        "limits:\n  answer_timeout_s: 20",
        "  users: {stages: [{duration_s: 5, users: 1}]}",
        7,
        ["load: needs exactly one of: arrivals (open loop), users (closed loop)"],
    ),
    "record": ("record: all", "record: 1.5", 11, ["record: got 1.5", "none, all"]),
    "limit of zero": ("answer_timeout_s: 20", "answer_timeout_s: 0", 10, ["limits.answer_timeout_s", "above 0"]),
    "threshold metric": ("ttfb_ms p95 < 800", "tftb_ms p95 < 800", 13, ["thresholds[0]", "ttfb_ms", "legal"]),
    "threshold entry": ("min_samples: 3", "min: 3", 14, ["thresholds[1].min: unknown key", "min_samples"]),
    "duplicate key": ("record: all", "record: all\nrecord: none", 12, ["'record' stands twice"]),
    "syntax": ("record: all", "record: [all", 12, ["not valid YAML"]),
    "tab": ("  answer_timeout_s: 20", "\tanswer_timeout_s: 20", 10, ["not valid YAML"]),
    "unknown alias": ("record: all", "record: *nobody", 11, ["not valid YAML", "nobody"]),
    "number as key": ("record: all", "7: all", 11, ["key 7 is not text"]),
    "unknown accent": (
        "turns: [1, 2]",
        "select: {accent: [british, klingon]}",
        6,
        ["callers[0].select.accent[1]: klingon is not in the corpus", "american, british"],
    ),
    "typo of a noise": ("turns: [1, 2]", "select: {noise: [cleen]}", 6, ["callers[0].select.noise[0]", "mean clean?"]),
    "combination nobody has": (
        "turns: [1, 2]",
        "select: {accent: [british], native: [false]}",
        6,
        ["callers[0].select", "together"],
    ),
    "more turns than clips": (
        "[1, 2]",
        "[1, 2]\n    select: {ids: [british-refund]}",
        6,
        ["callers[0].turns", "at most 1"],
    ),
    "too many calls": ("rate_per_minute: 60, calls: 3", "rate_per_minute: 1000000, duration_s: 86400", 8, ["at most"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_names_line_path_and_legal_values(name, tmp_path):
    old, new, line, expected = WRONG[name]
    assert old in GOOD
    path = tmp_path / "wrong.yaml"
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(ScenarioError) as caught:
        prepare(path)
    message = str(caught.value)
    assert f"{path}:{line}: " in message, message
    for part in expected:
        assert part in message, message


def test_the_good_file_is_good(tmp_path):
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    prepared = prepare(path, seed=5, url="http://127.0.0.1:10/offer", calls=2)
    assert (prepared.seed, prepared.url, prepared.due_ms) == (5, "http://127.0.0.1:10/offer", [0.0, 1000.0])


def test_all_problems_are_told_at_once_in_the_order_of_lines(tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(GOOD.replace("calls: 3", "calls: 0").replace("record: all", "record: some").replace("good", "1 2"))
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    lines = [text.split(":")[1] for text in str(caught.value).splitlines()]
    assert lines == ["1", "8", "11"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", ":1: the file is empty; a scenario is a mapping with the keys name,"),
        (b"# nothing\n", ":1: the file is empty"),
        (b"- name: x\n", ":1: found a list; a scenario is a mapping"),
        (b"just words\n", ":1: found text"),
        (b"name: \xff\xfe\n", "not UTF-8 text"),
        (b"a: &a [*a]\n", ":1: a[0]: an alias that contains itself"),
    ],
)
def test_a_file_that_is_no_mapping(content, expected, tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_bytes(content)
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    assert expected in str(caught.value)


def test_a_missing_file_names_its_neighbours(tmp_path):
    (tmp_path / "smoke.yaml").write_text(GOOD)
    with pytest.raises(ScenarioError, match=r"smok\.yaml: cannot read the scenario.*smoke\.yaml"):
        load_scenario(tmp_path / "smok.yaml")


def test_wrong_options_are_named(tmp_path):
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    with pytest.raises(ScenarioError) as caught:
        prepare(path, url="ftp://x", seed=-1, calls=0)
    for part in ("--target: got 'ftp://x'", "--seed: got -1", "--calls: got 0"):
        assert part in str(caught.value)


def test_merge_keys_and_anchors_work(tmp_path):
    text = GOOD.replace(
        "  - name: anyone\n    turns: [1, 2]",
        "  - &base\n    name: anyone\n    turns: 2\n  - <<: *base\n    name: other\n",
    )
    path = tmp_path / "good.yaml"
    path.write_text(text)
    callers = load_scenario(path).scenario.callers
    assert [(c.name, c.turns) for c in callers] == [("anyone", (2, 2)), ("other", (2, 2))]
