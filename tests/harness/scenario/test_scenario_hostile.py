"""Files nobody writes on purpose: each is refused with its line, before any call, and none with a traceback."""

import pytest

from harness.model.errors import ScenarioError
from harness.scenario.check import prepare

pytestmark = pytest.mark.unit

GOOD = """\
name: tiny
target: {url: "http://127.0.0.1:1/api/offer"}
callers: [{name: any, turns: 2}]
load: {arrivals: {rate_per_minute: 6, duration_s: 60, distribution: uniform}}
"""


def refusal(tmp_path, text, **options):
    path = tmp_path / "hostile.yaml"
    path.write_text(text, encoding="utf-8", newline="")
    with pytest.raises(ScenarioError) as refused:
        prepare(path, **options)
    return str(refused.value)


def test_the_good_one_is_good(tmp_path):
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    prepare(path)


@pytest.mark.parametrize(
    ("added", "line", "said"),
    [
        ('description: "a\\uD800b"', 5, "surrogate"),
        ("description: a\x00b", 5, "not allowed"),
        ("description: a\x07b", 5, "not allowed"),
        ("description: " + "[" * 5000, 5, "nested too deep"),
        ("seed: !!timestamp abc", 5, "timestamp"),
        ('seed: !!bool "abc"', 5, "bool"),
        ("seed: !!int abc", 5, "int"),
        ("seed: 2026-02-30", 5, "timestamp"),
        ("thresholds: [turns_answered >= " + "9" * 400 + "]", 5, "beyond all measure"),
        ("thresholds: ['ttfb_ms{accent:scottish} p95 < 800']", 5, "legal: american"),
        ("thresholds: ['ttfb_ms{noise:rain} p95 < 800']", 5, "babble"),
        ("thresholds: ['ttfb_ms p95 < 800 during fault:tts']", 5, "legal: none, the scenario has no faults"),
        ("thresholds: ['ttfb_ms p95 < 800 sustained 60s during phase:7']", 5, "legal: phase:1"),
        ("thresholds: ['drop_off{caller:nobody} < 0.5']", 5, "legal: any"),
    ],
)
def test_refused_with_line(tmp_path, added, line, said):
    text = refusal(tmp_path, GOOD + added + "\n")
    assert f"hostile.yaml:{line}:" in text
    assert said in text


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:abc/x",
        "http://127.0.0.1:99999/x",
        "http://[::1/x",
        "http://x y/",
        "ftp://127.0.0.1/",
        "http://",
    ],
)
def test_addresses_nobody_can_call(tmp_path, url):
    text = refusal(tmp_path, GOOD.replace("http://127.0.0.1:1/api/offer", url))
    assert "hostile.yaml:2: target.url" in text
    assert "--target" in refusal(tmp_path, GOOD, url=url)


@pytest.mark.parametrize("headers", ['{X-A: "a\\nb"}', '{"X A": b}', '{"X-\u65e5": b}', '{X-A: "\u65e5"}'])
def test_headers_no_request_can_carry(tmp_path, headers):
    text = refusal(tmp_path, GOOD.replace('offer"}', f'offer", headers: {headers}}}'))
    assert "hostile.yaml:2: target.headers" in text


def test_tags_that_some_turn_can_have_are_accepted(tmp_path):
    path = tmp_path / "good.yaml"
    tags = [
        "accent:british",
        "noise:babble",
        "snr_db:5",
        "snr_db:none",
        "native:true",
        "caller:any",
        "vocabulary:digits",
    ]
    path.write_text(GOOD + "thresholds:\n" + "".join(f"  - 'ttfb_ms{{{tag}}} p95 < 800'\n" for tag in tags))
    prepare(path)


def test_load_without_anybody(tmp_path):
    load = "load: {users: {stages: [{duration_s: 5, users: 0}]}}"
    text = refusal(tmp_path, GOOD.rpartition("load:")[0] + load + "\n")
    assert "no stage has users" in text
