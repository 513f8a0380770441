"""The real voices: the same bytes twice, a build can be stopped, and the shipped set is what its recipe gives.

`python -m pytest --soak tests/harness/corpus/test_corpus_rebuild.py`; it needs the Kokoro model and its voices. One
test speaks the whole shipped set anew, as long as a build takes.
"""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from harness.corpus.check import find_problems
from harness.corpus.manifest import default_corpus_dir, load_corpus
from harness.corpus.provenance import read_provenance
from harness.corpus.weights import find_model, find_voices
from harness.model.errors import ScenarioError

pytestmark = [pytest.mark.soak, pytest.mark.timeout(7200)]

FEW = ["*-yes-right*", "italian-l1-pause-number", "*-no-thanks*"]


@pytest.fixture
def _weights():
    try:
        find_model(None), find_voices(None)
    except ScenarioError as error:
        pytest.skip(f"no voices to build with: {error}")


def command(out, cache, *options):
    return [sys.executable, "-m", "harness.corpus", "build", "--out", str(out), "--cache", str(cache), *options]


def build(out, cache, *options):
    done = subprocess.run(command(out, cache, *options), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.usefixtures("_weights")
def test_a_short_recipe_built_twice_has_the_same_bytes_on_one_core_and_on_two(tmp_path):
    build(tmp_path / "a", tmp_path / "cache-a", "--only", *FEW, "--jobs", "1")
    build(tmp_path / "b", tmp_path / "cache-b", "--only", *FEW, "--jobs", "2")
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert len(load_corpus(tmp_path / "a").utterances) >= 4


@pytest.mark.usefixtures("_weights")
def test_ctrl_c_leaves_no_process_and_the_next_build_goes_on(tmp_path):
    out, cache = tmp_path / "out", tmp_path / "cache"
    build(out, tmp_path / "other", "--only", FEW[0], "--jobs", "1")
    before = content(out)
    running = subprocess.Popen(
        command(out, cache, "--only", *FEW, "--jobs", "2"), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    done = [next(line for line in running.stderr if " [1/" in line)]
    children = psutil.Process(running.pid).children(recursive=True)
    os.killpg(running.pid, signal.SIGINT)
    rest = running.communicate(timeout=60)[1]
    assert running.returncode == 105, rest
    assert "Traceback" not in rest
    assert not psutil.wait_procs(children, timeout=10)[1]
    assert content(out) == before
    said = build(out, cache, "--only", *FEW, "--jobs", "1")
    again = done[0].split("] ")[1].split(":")[0]
    assert any(f"] {again}:" in line and " 0 new" in line for line in said.splitlines())


@pytest.mark.usefixtures("_weights")
def test_the_shipped_set_is_what_its_recipe_gives(tmp_path):
    build(tmp_path / "out", tmp_path / "cache")
    there, here = read_provenance(default_corpus_dir()), read_provenance(tmp_path / "out")
    other = [name for name in here if there.get(name) != here[name]]
    assert "recipe_sha256" not in other
    if other:
        pytest.skip(f"the shipped set was made with other {', '.join(other)}: {there}; here: {here}")
    new, old = tmp_path / "out" / "manifest.json", default_corpus_dir() / "manifest.json"
    assert new.read_bytes() == old.read_bytes()


def test_every_shipped_clip_is_what_the_manifest_says():
    """Hashes, edges, levels, shifts and SNRs of all clips, measured again on the files that ship."""
    assert find_problems(load_corpus(verify=False)) == []
