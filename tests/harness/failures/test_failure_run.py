"""A side's run proves nothing where the agent ended by itself, or where exit code and records differ."""

import contextlib
import subprocess

import pytest
from failure_samples import write
from sample_run import write_run

from harness.cli import main
from harness.commands import failure_run
from harness.commands.failure_run import run_mode
from harness.commands.failures import commit
from harness.commands.target_child import Addresses
from harness.exit_codes import ExitCode
from harness.failures.failure_file import load_failure
from harness.failures.judge import Outcome
from harness.report.analysis import analyse
from harness.report.store import read_run

pytestmark = pytest.mark.unit


@pytest.fixture
def one_mode(tmp_path, monkeypatch):
    """Run the sample with stand-ins: an agent that ended with `agent_code`, runs that left records and `run_code`."""

    def run(agent_code, run_code):
        @contextlib.contextmanager
        def agent(_words, _say, *, on_end, **_):
            yield Addresses("http://127.0.0.1:1")
            on_end(agent_code)

        def called(failure, side, folder, _at, _say):
            write_run(folder / f"{failure.name}-{side}")
            code = analyse(read_run(folder / f"{failure.name}-{side}")).verdict.exit_code
            return code if run_code is None else run_code

        monkeypatch.setattr(failure_run, "target_stack", agent)
        monkeypatch.setattr(failure_run, "_call", called)
        return run_mode(load_failure(write(tmp_path)), tmp_path / "runs", "1/1")

    return run


def test_a_run_whose_agent_lived_and_whose_code_is_its_records_is_read(one_mode):
    judged = one_mode(None, None)
    assert judged.off.analysis is not None
    assert judged.on.analysis is not None


def test_an_agent_that_ended_by_itself_shows_no_symptom(one_mode):
    judged = one_mode(7, None)
    assert judged.off.analysis is None
    assert "ended by itself, with exit code 7; see one_line-off-up.log" in judged.off.why
    assert judged.outcome is Outcome.NO_DATA


def test_a_run_that_ended_otherwise_than_its_records_say_is_not_judged(one_mode):
    judged = one_mode(None, 70)
    assert judged.off.analysis is None
    assert "ended with exit code 70, its records say" in judged.off.why
    assert judged.outcome is Outcome.NO_DATA


def test_a_folder_with_an_older_run_is_refused_before_anything_runs(tmp_path, capsys):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "run.json").write_text("{}")
    path = write(tmp_path)
    assert main(["failures", "run", str(path), "--run-dir", str(tmp_path / "old")]) == ExitCode.BAD_SCENARIO
    assert "old is not empty; legal: a new or an empty folder" in capsys.readouterr().err


# --- which code ran ------------------------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path):
    """A checkout of two files; returns it and what runs git in it."""
    root = tmp_path / "checkout"
    (root / "docs").mkdir(parents=True)

    def git(*words):
        who = ("-c", "user.name=a", "-c", "user.email=a@b.invalid", "-c", "commit.gpgsign=false")
        done = subprocess.run(["git", "-C", str(root), *who, *words], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "--quiet")
    (root / "docs" / "page.md").write_text("page\n")
    (root / "code.py").write_text("code\n")
    git("add", ".")
    git("commit", "--quiet", "-m", "one")
    return root, git


def test_the_table_names_the_commit_and_says_where_files_differ_from_it(checkout):
    root, git = checkout
    head = git("rev-parse", "--short=10", "HEAD")
    page = root / "docs" / "page.md"
    assert commit(root) == f"commit {head}"
    page.write_text("a new table\n")
    assert commit(root) == f"commit {head} and changes that are in none"
    # The page itself is written mode by mode.
    assert commit(root, page) == f"commit {head}"
    (root / "code.py").write_text("other code\n")
    assert commit(root, page) == f"commit {head} and changes that are in none"


def test_a_folder_that_is_no_checkout_or_only_lies_in_one_has_no_commit(checkout, tmp_path):
    root, _ = checkout
    (root / "site-packages").mkdir()
    assert commit(root / "site-packages") == "not a git checkout"
    assert commit(tmp_path) == "not a git checkout"
