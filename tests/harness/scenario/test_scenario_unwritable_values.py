"""Values that YAML can spell and nothing later can write, print or open: refused where they stand, by line and path."""

import pytest

from harness.model.errors import ScenarioError
from harness.scenario.loader import load_scenario

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ('name: x\ncorpus: "a\\0b"\n', ":2: corpus: ", "NUL"),
        ("name: x\nseed: 0x" + "f" * 5000 + "\n", ":2: seed: ", "1000 bits"),
        ("name: x\nload:\n  arrivals: {calls: 0x" + "f" * 5000 + "}\n", ":3: load.arrivals.calls: ", "1000 bits"),
        ('name: x\n"\\uD800": 1\n', ":2: ", "surrogate"),
        ('name: x\ntarget:\n  url: "\\uD800"\n', ":3: target.url: ", "surrogate"),
        ("name: x\ncallers:\n  - weight: !!timestamp abc\n", ":3: callers[0].weight: ", "timestamp"),
        ("name: x\nseed: !!int " + "z" * 5000 + "\n", ":2: seed: ", "is no int"),
        ("name: x\n\nrecord: " + "[" * 5000 + "\n", ":3: ", "nested too deep"),
    ],
)
def test_refused_by_line_and_path(tmp_path, text, place, said):
    path = tmp_path / "odd.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ScenarioError) as refused:
        load_scenario(path)
    message = str(refused.value)
    assert message.startswith(f"{path}{place}")
    assert said in message
    assert len(message) < 400
