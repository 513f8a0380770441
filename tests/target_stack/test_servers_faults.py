"""A fault of a front is one of each media server: how long they may take to end it, and who had it."""

import asyncio
import json
from types import SimpleNamespace

import pytest

from target_stack.servers.admin import Admin
from target_stack.servers.registry import Load, Registry, Rules

pytestmark = pytest.mark.unit


class Overview:
    """Answers for servers; `patience_s`: what it was asked with, None where nobody said."""

    def __init__(self, answers):
        self.answers = answers
        self.patience_s = None

    async def ask_all(self, method, path, body=b"", token="", *, patience_s=None):
        self.patience_s = patience_s
        return dict(self.answers)


class Request(SimpleNamespace):
    async def read(self):
        return b""


def asked(method, answers, *servers):
    """Return the front's status, what it says of each server, and its patience."""
    registry = Registry(Rules())
    for name in servers:
        registry.register(name, 10, 0)
        registry.heard(name, Load({}, is_ready=True), 0)
    overview = Overview({name: (status, json.dumps(said)) for name, (status, said) in answers.items()})
    admin = Admin(SimpleNamespace(registry=registry), None, overview, drain_s=1)
    request = Request(method=method, raw_path="/admin/faults/one")
    answer = asyncio.run(admin._fault(request))
    told = {one["server"]: one.get("undone") for one in json.loads(answer.text)["servers"]}
    return answer.status, told, overview.patience_s


UNDONE, MISSING = (200, {"undone": True}), (404, {"error": "no fault one is in force"})


def test_ending_a_fault_may_take_as_long_as_loading_a_model():
    assert asked("DELETE", {"s1": UNDONE}, "s1") == (200, {"s1": True}, 50.0)
    assert asked("POST", {"s1": (200, {})}, "s1") == (200, {"s1": None}, None)


def test_a_server_that_has_begun_anew_had_no_fault_to_end():
    assert asked("DELETE", {"s1": UNDONE, "s2": MISSING}, "s1", "s2")[:2] == (200, {"s1": True})
    assert asked("DELETE", {"s1": MISSING, "s2": MISSING}, "s1", "s2")[:2] == (404, {"s1": None, "s2": None})


def test_a_server_that_lives_and_does_not_answer_may_still_be_broken():
    assert asked("DELETE", {"s1": UNDONE}, "s1", "s2")[:2] == (504, {"s1": True, "s2": False})
