"""docs/add-a-fault.md, followed: its kind, its test and its case of kill -9 are run as they stand there."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import kill_cases
import pytest
import test_kill_every_fault as every_fault

from harness.commands.fault_words import description
from harness.faults import catalogue
from harness.faults.catalogue import KINDS

pytestmark = pytest.mark.loopback
PAGE = Path(__file__).parents[3] / "docs" / "add-a-fault.md"


def loaded(code, path):
    """Return the module that this code is."""
    path.write_text(code)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_stands_on_the_page_works(tmp_path, monkeypatch):
    kind_code, test_code, case_code = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (kind,) = loaded(kind_code, tmp_path / "disk.py").KINDS
    monkeypatch.setitem(KINDS, kind.name, kind)
    assert "disk.fill (infrastructure)" in "\n".join(description(kind))
    folder = tmp_path / "filled"
    folder.mkdir()
    loaded(test_code, tmp_path / "page_test.py").test_a_folder_is_filled_and_emptied_also_from_the_journal(folder)
    names = vars(kill_cases).copy()
    exec(case_code, names)
    monkeypatch.setitem(kill_cases.CASES, kind.name, names["disk_fill"])
    stands = kill_cases.Stands(tmp_path)
    every_fault.test_what_a_killed_process_wrote_undoes_the_fault(kind.name, stands, tmp_path / "state", monkeypatch)


def test_what_stands_on_the_page_passes_the_suites_own_checks():
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    kind_code, test_code, case_code = blocks
    cases = Path(kill_cases.__file__).read_text()
    # Whoever has followed the page has it there already, and runs this.
    if case_code not in cases:
        cases = cases.replace("CASES = {", f"{case_code}\n\nCASES = {{", 1)
    folder = PAGE.parents[1]
    for code, path in (
        (kind_code, "harness/faults/families/disk.py"),
        (test_code, "tests/harness/faults/test_disk_faults.py"),
        (cases, "tests/harness/faults/kill_cases.py"),
    ):
        words = [sys.executable, "-m", "ruff", "check", "--stdin-filename", path, "-"]
        done = subprocess.run(words, cwd=folder, input=code, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_the_page_names_what_there_is():
    text = PAGE.read_text()
    assert "`_FAMILIES`" in text
    assert catalogue._FAMILIES
    for path in re.findall(r"`((?:harness|tests|target_stack)/[\w/]+\.py)`", text):
        assert path.endswith(("disk.py", "test_disk_faults.py")) or (PAGE.parents[1] / path).is_file(), path
