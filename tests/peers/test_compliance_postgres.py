"""The consent store on a real PostgreSQL: the same answers as on SQLite, and deleted rows in no file of its tables."""

import asyncio
import importlib.util
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from compliance_bench import NOW, Desk
from postgres import running_postgres

from target_stack.compliance.audit import audit, look_up
from target_stack.compliance.consent import ConsentError, Evidence, State, Step
from target_stack.compliance.database import StoreError, open_database
from target_stack.compliance.office import Office
from target_stack.compliance.rules import shipped_rules
from target_stack.compliance.settings import Block, Settings
from target_stack.compliance.store import ConsentStore
from target_stack.compliance.trail import TrailRow, What
from target_stack.compliance.words import Activity, Form

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(
        importlib.util.find_spec("psycopg") is None, reason="pip install 'callquake[compliance-postgres]'"
    ),
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def server():
    with running_postgres() as found:
        yield found


@pytest.fixture
def url(server):
    """An empty database."""
    import psycopg

    with psycopg.connect(server[0], autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return server[0]


def moves(store):
    """Run the same steps; return all that the store then says."""
    caller = "anna"
    for number, step in enumerate([Step.ASK, Step.GIVE, Step.WITHDRAW, Step.ASK, Step.GIVE, Step.REFUSE, Step.GIVE]):
        at = NOW + timedelta(minutes=number)
        expires = at + timedelta(days=number + 1) if step is Step.GIVE else None
        store.take(
            caller, Activity.RECORD, step, Evidence(at, "DE", "call-1", Form.VOICE, "May we?", "yes"), expires, "k"
        )
    with pytest.raises(ConsentError):
        store.take(caller, Activity.RECORD, Step.GIVE, Evidence(NOW, "DE"), NOW + timedelta(days=1))
    store.note([TrailRow(NOW, What.PLAYED, caller, "c", "DE", "inbound", "ai_disclosure", None, {"n": 1})])
    end = NOW + timedelta(days=1)
    return store.consents(caller), store.all_consents(), store.steps(caller), store.trail(None, end)


def test_it_says_what_sqlite_says(url, tmp_path):
    answers = []
    for name in (url, str(tmp_path / "a.sqlite")):
        store = ConsentStore(open_database(name), lambda key: f"p-{key}")
        answers.append(moves(store))
        store.close()
    assert answers[0] == answers[1]
    assert answers[0][0][Activity.RECORD].state is State.GIVEN


def test_calls_kept_due_and_deleted_as_on_sqlite(url, tmp_path):
    results = []
    for name, folder in ((url, tmp_path / "pg"), (None, tmp_path / "lite")):
        with Desk(folder, name) as desk:
            desk.give("anna", call_id="call-1")
            desk.give("ben")
            desk.keep("anna", "call-1", days=30, files={"caller.wav": b"x" * 10})
            desk.keep("anna", "call-2", days=90, files={"caller.wav": b"y" * 10})
            due = desk.deletion.due(NOW + timedelta(days=30), timedelta(days=365))
            made = desk.store.make_due(desk.pseudonyms.of("anna"), NOW, "withdrawn")
            again = desk.deletion.due(NOW, timedelta(days=365))
            late = desk.deletion.due(NOW + timedelta(days=800), timedelta(days=365))
            report = audit(look_up(desk.store, desk.folders, NOW.date(), NOW), shipped_rules())
            results.append((due, made, again, late, report.as_dict(), list(desk.folders)))
    assert results[0] == results[1]
    assert results[0][0].calls == results[0][2].calls == 1


def test_two_callers_at_once_and_two_starts_at_once(url):
    def work(number):
        store = ConsentStore(open_database(url), lambda key: key)
        for step in range(20):
            at = NOW + timedelta(seconds=step)
            evidence = Evidence(at, "DE", form=Form.KEYPAD)
            store.take(
                "anna",
                Activity.RECORD,
                Step.GIVE if step % 2 else Step.REFUSE,
                evidence,
                at + timedelta(days=1) if step % 2 else None,
            )
        store.close()
        return number

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(work, range(4))) == [0, 1, 2, 3]
    store = ConsentStore(open_database(url), lambda key: key)
    assert len(store.steps("anna")) == 80
    store.close()


def test_deleted_rows_are_in_no_file_of_the_tables(url, server, tmp_path):
    words = "yes you may record Jonathan Reyes"

    def found(name):
        files = (path for path in (server[1] / name).rglob("*") if path.is_file())
        return [path.name for path in files if words.encode() in path.read_bytes()]

    with Desk(tmp_path, url) as desk:
        desk.give("anna", words=words, call_id="call-jonathan")
        desk.keep("anna", "call-jonathan", files={"caller.wav": b"z" * 100})
        desk.database.execute("CHECKPOINT")
        assert found("base")
        assert desk.deletion.of_caller("anna", NOW).calls == 1
        desk.database.execute("CHECKPOINT")
        assert found("base") == []
        # The server's own log still has them until it is written over: docs/compliance.md says so.
        assert found("pg_wal")


def test_a_lost_connection_is_opened_anew_and_a_lost_server_is_told(url):
    database = open_database(url)
    store = ConsentStore(database, lambda key: key)
    database._connection.close()
    assert store.consents("anna") == {}
    store.close()
    with pytest.raises(StoreError, match="cannot be reached"):
        open_database("postgresql://postgres@127.0.0.1:1/none")


def test_an_office_works_on_it(url, tmp_path):
    async def scenario():
        office = Office(Settings(Block(), tmp_path, url, shipped_rules()))
        await office.open()
        await office.ledger.ask(
            lambda store: store.take("anna", Activity.RECORD, Step.ASK, Evidence(office.now(), "DE", asked="May we?"))
        )
        consents = await office.ledger.ask(lambda store: store.consents("anna"))
        await office.aclose()
        return consents

    assert asyncio.run(scenario())[Activity.RECORD].state is State.ASKED
