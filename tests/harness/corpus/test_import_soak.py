"""A thousand files, good and bad: none stops the import, each has its line, and a second run does nothing twice."""

import json
import subprocess
import sys
import time

import pytest
from import_trees import mixed_tree
from test_import_run import as_expected, outcomes

from harness.corpus.importing.texts import shown
from harness.corpus.manifest import load_corpus

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]


def run(source, out):
    began = time.monotonic()
    words = ["import", str(source), "--out", str(out), "--licence", "mine"]
    done = subprocess.run(
        [sys.executable, "-m", "harness.corpus", *words], capture_output=True, text=True, errors="replace", check=False
    )
    print(f"{time.monotonic() - began:.0f} s\n{done.stdout}")
    assert done.returncode == 0, done.stderr[-2000:]
    return done


def test_a_thousand_mixed_files(tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    expected = mixed_tree(source, 1000)
    first = run(source, out)
    (one,) = json.loads((out / "import.json").read_text())["imports"]
    found = outcomes(one)
    assert found.keys() == set(map(shown, expected))
    assert as_expected(found, expected) == {}
    refused = {name for name, (kind, _) in found.items() if kind not in ("imported", "doubtful")}
    named = {line.removeprefix("refused: ") for line in first.stderr.splitlines() if line.startswith("refused: ")}
    assert all(any(line.startswith(f"{name}: ") for line in named) for name in refused)
    assert len(load_corpus(out).utterances) == len(found) - len(refused) > 400
    again = run(source, out)
    (two,) = json.loads((out / "import.json").read_text())["imports"]
    assert two["counts"] == one["counts"]
    assert "files were known from before" in again.stdout
