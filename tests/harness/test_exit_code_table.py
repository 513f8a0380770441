"""docs/exit-codes.md and the README say what harness/exit_codes.py says."""

import re
from pathlib import Path

import pytest

from harness.exit_codes import ExitCode

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]


def test_the_documented_table_is_the_table_in_code():
    text = (ROOT / "docs" / "exit-codes.md").read_text()
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", text, re.MULTILINE)
    assert [(int(code), name) for code, name in rows] == [(code.value, code.name) for code in ExitCode]


def test_the_ci_page_names_every_code():
    text = (ROOT / "docs" / "ci.md").read_text()
    named = {int(n) for cells in re.findall(r"^\| ([\d, ]+) \|", text, re.MULTILINE) for n in cells.split(",")}
    assert named == {code.value for code in ExitCode}
