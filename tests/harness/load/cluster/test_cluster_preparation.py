"""A worker prepares the master's run from what it is sent, or says what its machine lacks."""

import shutil

import pytest

from harness.corpus.manifest import default_corpus_dir, load_corpus
from harness.load.cluster.fingerprint import fingerprint
from harness.load.cluster.preparation import description_of, find_corpus, prepare_from
from harness.load.cluster.run_place import own_run_dir
from harness.model.errors import ScenarioError
from harness.scenario.check import prepare

pytestmark = pytest.mark.unit

SCENARIO = """\
name: sent
target: {url: "http://127.0.0.1:9/o"}
corpus: clips
callers: [{name: a, turns: 2}]
load: {arrivals: {rate_per_minute: 60, calls: 9}}
"""


@pytest.fixture(scope="module")
def masters(tmp_path_factory):
    """The master's run: its scenario names a corpus beside the file."""
    folder = tmp_path_factory.mktemp("master")
    (folder / "clips").symlink_to(default_corpus_dir())
    (folder / "sent.yaml").write_text(SCENARIO)
    return prepare(folder / "sent.yaml", seed=5, url="http://127.0.0.1:10/x", calls=4)


def test_a_worker_arrives_at_the_masters_plan(masters):
    description = description_of(masters, calls=4)
    # Its corpus lies elsewhere; the content is the same.
    description["corpus"]["dir"] = "/nowhere/clips"
    prepared = prepare_from(description, corpus_dir=None)
    assert fingerprint(prepared) == fingerprint(masters)
    assert (prepared.url, prepared.seed) == ("http://127.0.0.1:10/x", 5)
    assert prepared.due_ms == masters.due_ms
    assert prepared.planner.plan_for_index(3, 1.0) == masters.planner.plan_for_index(3, 1.0)


def test_a_corpus_is_known_by_its_content(masters, tmp_path):
    wanted = description_of(masters, calls=4)["corpus"]
    shutil.copy(masters.corpus.directory / "manifest.json", tmp_path)
    assert find_corpus(wanted, tmp_path) == tmp_path
    with (tmp_path / "manifest.json").open("a") as file:
        file.write("\n")
    with pytest.raises(ScenarioError) as refused:
        find_corpus(wanted, tmp_path)
    told = str(refused.value)
    assert f"looked at: {tmp_path};" in told
    assert wanted["dir"] in told
    assert "--corpus" in told
    assert str(len(load_corpus(verify=False).utterances)) in told


def test_a_path_on_the_master_is_only_a_path_here(tmp_path):
    message = {"run_dir": str(tmp_path / "master"), "run_id": "now"}
    assert own_run_dir(message, tmp_path / "mine") == (tmp_path / "mine", False)
    (tmp_path / "master").mkdir()
    # An older run that happens to lie at the same path of this machine.
    (tmp_path / "master" / "run.json").write_text('{"run_id": "before"}')
    assert own_run_dir(message, tmp_path / "mine") == (tmp_path / "mine", False)
    (tmp_path / "master" / "run.json").write_text('{"run_id": "now"}')
    assert own_run_dir(message, tmp_path / "mine") == (tmp_path / "master", True)
