"""A run takes the faults that somebody asks it for, whole, once, and only as long as somebody asks."""

import json
import os
import time

import pytest

from harness.faults import orders
from harness.model.codec import to_json
from harness.model.fault import Evidence, Fault, FaultEvent, FaultMoment, Where

pytestmark = pytest.mark.unit
FAULT = Fault("loss", "network.loss", Where.NETWORK, parameters={"loss_ratio": 0.1, "direction": "both"})


def test_an_order_is_read_as_it_was_placed(tmp_path):
    order = orders.Order(FAULT)
    path = orders.place(tmp_path, order)
    assert orders.placed(tmp_path) == {"loss": order}
    assert [one.name for one in path.parent.iterdir()] == ["loss.json"]
    assert orders.withdraw(path)
    assert not orders.withdraw(path)
    assert orders.placed(tmp_path) == {}


def test_two_of_a_name_are_one_too_many(tmp_path):
    orders.place(tmp_path, orders.Order(FAULT))
    with pytest.raises(FileExistsError):
        orders.place(tmp_path, orders.Order(FAULT, is_kept=True))
    assert not orders.placed(tmp_path)["loss"].is_kept


def test_what_nobody_renews_is_asked_for_no_longer(tmp_path):
    path = orders.place(tmp_path, orders.Order(FAULT))
    long_ago = time.time() - orders.LEASE_S - 1
    os.utime(path, (long_ago, long_ago))
    assert orders.placed(tmp_path) == {}
    assert orders.renew(path)
    assert list(orders.placed(tmp_path)) == ["loss"]
    orders.withdraw(path)
    assert not orders.renew(path)


def test_what_is_kept_needs_no_renewal(tmp_path):
    path = orders.place(tmp_path, orders.Order(FAULT, is_kept=True))
    os.utime(path, (0, 0))
    assert list(orders.placed(tmp_path)) == ["loss"]


def test_a_foreign_file_is_no_order(tmp_path):
    (tmp_path / "orders").mkdir()
    (tmp_path / "orders" / "x.json").write_text('{"fault": 7')
    assert orders.placed(tmp_path) == {}


def test_what_the_run_told_of_a_fault_is_found_among_the_others(tmp_path):
    events = [
        FaultEvent("other", FaultMoment.STARTED, 1, "t"),
        FaultEvent("loss", FaultMoment.STARTED, 2, "t", spec=FAULT),
        FaultEvent("loss", FaultMoment.STOPPED, 3, "t", Evidence(7, "packets lost")),
    ]
    lines = [json.dumps(to_json(event)) for event in events]
    (tmp_path / "faults.jsonl").write_text("\n".join([*lines, '{"fault": "lo']))
    assert orders.events_of(tmp_path, "loss") == events[1:]
    assert orders.events_of(tmp_path / "none", "loss") == []
