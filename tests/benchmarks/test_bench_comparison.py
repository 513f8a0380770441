"""Ratios, their spread, the order of the runs, and the JSON that benchmarks write."""

import json

import pytest

from benchmarks.comparison import OURS, Better, Comparison, Measured, order_of, run_rounds, spread_of, write_json

pytestmark = pytest.mark.unit


def comparison(better, **runs):
    measured = {
        name: [Measured(value, {"calls": 10, "flags": []}) for value in values] for name, values in runs.items()
    }
    return Comparison("callers", "calls per core", better, measured, {"sipp": "has no WebRTC"})


def test_the_ratio_says_how_many_times_better_ours_is_within_a_round():
    more = comparison(Better.HIGHER, callquake=[100.0, 300.0, 90.0], pion=[50.0, 100.0, 30.0])
    assert more.ratios_to("pion") == [2.0, 3.0, 3.0]
    less = comparison(Better.LOWER, callquake=[2.0, 4.0], pion=[10.0, 10.0])
    assert less.ratios_to("pion") == [5.0, 2.5]


def test_the_ratio_is_the_median_of_the_rounds_not_the_ratio_of_the_medians():
    found = comparison(Better.HIGHER, callquake=[100.0, 10.0, 40.0], pion=[100.0, 1.0, 20.0])
    document = found.as_json({}, {})
    assert document["ratios"]["pion"]["median"] == 2.0
    assert document["ours"]["median"] / document["peers"]["pion"]["median"] == 2.0
    swapped = comparison(Better.HIGHER, callquake=[100.0, 10.0, 40.0], pion=[1.0, 100.0, 20.0])
    assert swapped.ratios_to("pion") == [100.0, 0.1, 2.0]


def test_a_spread_keeps_median_range_and_count():
    assert spread_of([3.0, 1.0, 2.0]).as_json() == {"median": 2.0, "min": 1.0, "max": 3.0, "n": 3}
    assert str(spread_of([1234.5])) == "1,234 (1,234-1,234, n=1)"


def test_everybody_is_first_once_when_there_are_as_many_rounds_as_competitors():
    names = [OURS, "pion", "aiortc"]
    assert {order_of(names, i)[0] for i in range(3)} == set(names)
    assert order_of(names, 1) == ["pion", "aiortc", OURS]


def test_rounds_run_everybody_once_each_and_pass_the_flags_on():
    ran, said = [], []

    def runner(name):
        def run():
            ran.append(name)
            return Measured(1.0, {"flags": ["fell behind"] if name == "pion" else []})

        return run

    runs = run_rounds(2, {OURS: runner(OURS), "pion": runner("pion")}, said.append)
    assert ran == [OURS, "pion", "pion", OURS]
    assert {name: len(each) for name, each in runs.items()} == {OURS: 2, "pion": 2}
    assert sum("fell behind" in line for line in said) == 2


def test_the_document_has_the_shape_that_is_promised(tmp_path):
    document = comparison(Better.HIGHER, callquake=[10.0, 12.0], pion=[5.0, 4.0]).as_json(
        {"seconds": 10}, {"cpu": "a CPU"}
    )
    assert document["ours"]["samples"] == [
        {"value": 10.0, "calls": 10, "flags": []},
        {"value": 12.0, "calls": 10, "flags": []},
    ]
    assert document["ratios"]["pion"] == {"median": 2.5, "min": 2.0, "max": 3.0, "n": 2, "each": [2.0, 3.0]}
    assert document["not_applicable"] == {"sipp": "has no WebRTC"}
    assert document["machine"] == {"cpu": "a CPU"}
    write_json(tmp_path / "deep" / "out.json", document)
    assert json.loads((tmp_path / "deep" / "out.json").read_text()) == document
