"""What a scenario asks of each engine, known before the first call."""

import pytest

from harness.scenario.check import prepare
from harness.scenario.needs import needs_of

pytestmark = pytest.mark.unit

SCENARIO = """
name: s
target: {{url: "http://127.0.0.1:9/offer", impairments: {impairments}}}
callers:
  - {{name: a, weight: 1}}
  - {{name: b, weight: 1, impairments: {{both: {{}}}}}}
load: {load}
"""


def needs(tmp_path, load, impairments="null", engines=1):
    path = tmp_path / "s.yaml"
    path.write_text(SCENARIO.format(load=load, impairments=impairments))
    return needs_of(prepare(path), engines)


def test_users_are_certain_and_shared_by_the_engines(tmp_path):
    load = "{users: {stages: [{duration_s: 9, users: 30}, {duration_s: 9, users: 100}]}}"
    asked = needs(tmp_path, load, engines=3)
    assert (asked.calls, asked.is_certain, asked.transport) == (34, True, "webrtc")


def test_arrivals_are_an_estimate_bounded_by_the_calls(tmp_path):
    load = "{{arrivals: {{distribution: uniform, rate_per_minute: {}, calls: {}}}}}"
    few, many = needs(tmp_path, load.format(600, 20)), needs(tmp_path, load.format(600, 2000))
    assert (few.calls, few.is_certain) == (20, False)
    # A call every 100 ms: so many at once as one lasts tenths of a second.
    assert 100 < many.calls < 600


def test_packets_held_back_follow_from_delay_direction_and_share_of_the_callers(tmp_path):
    load = "{users: {stages: [{duration_s: 9, users: 100}]}}"
    assert needs(tmp_path, load).held_packets == 0
    # 200 ms are 10 packets; half of the callers, two directions.
    held = needs(tmp_path, load, "{both: {delay_ms: 150, jitter: {ms: 50}}}").held_packets
    assert held == 100 * 10 * 2 // 2


def test_calls_that_may_fall_back_may_each_need_a_connection(tmp_path):
    path = tmp_path / "s.yaml"
    target = '{url: "http://127.0.0.1:9/offer", source_ports: shared, fallback: websocket}'
    load = "{users: {stages: [{duration_s: 9, users: 4}]}}"
    path.write_text(f"name: s\ntarget: {target}\ncallers: [{{name: a}}]\nload: {load}\n")
    asked = needs_of(prepare(path))
    assert asked.falls_back
    assert asked.kinds[0].falls_back
