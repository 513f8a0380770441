"""The end of an engine's registrations: a registrar that says nothing leaves nothing behind."""

import asyncio
from types import SimpleNamespace

import pytest

from harness.callers import sip_accounts
from harness.callers.sip_accounts import Account, Accounts

pytestmark = pytest.mark.unit


def test_a_registrar_without_a_word_leaves_no_task_behind(monkeypatch):
    monkeypatch.setattr(sip_accounts, "_GOODBYE_S", 0.01)
    removed = []
    registration = SimpleNamespace(remove=removed.append)

    async def main():
        agent = SimpleNamespace(register=lambda *_, owner, **__: owner.settled.set_result(None) or registration)
        accounts = Accounts(agent, lambda: None)
        for name in ("one", "two"):
            await accounts.registered(Account("sip:r", f"sip:{name}@r"), None, None)
        await accounts.aclose()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
    assert len(removed) == 2
