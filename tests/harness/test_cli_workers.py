"""The options of `callquake run` for several workers: what goes together, and what Locust is then told."""

import pytest

from harness.cli import build_parser
from harness.commands import workers
from harness.exit_codes import ExitCode
from harness.model.errors import ScenarioError

pytestmark = pytest.mark.unit


def options(*words):
    return build_parser().parse_args(["run", *words])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "SCENARIO: missing"),
        (["--worker", "s.yaml"], "SCENARIO: a worker takes it from its master"),
        (["--worker", "--seed", "3", "--web"], "--web: a worker takes it from its master"),
        (["--worker", "--master"], "--master: a worker takes it"),
        (["s.yaml", "--master", "--processes", "2"], "callquake run --worker --processes 2"),
        (["s.yaml", "--processes", "0"], "--processes: got 0; legal: a whole number from 1"),
        (["s.yaml", "--expect-workers", "2"], "--expect-workers: only with --master"),
        (["s.yaml", "--master-host", "h"], "--master-host: only with --worker"),
        (["s.yaml", "--processes", "2", "--master-port", "9"], "--master-port: only with --master or --worker"),
        (["--worker", "--master-port", "70000"], "--master-port: got 70000; legal: a whole number from 1 to 65535"),
    ],
)
def test_options_that_do_not_go_together_are_refused(words, expected):
    with pytest.raises(ScenarioError) as refused:
        workers.check(options(*words))
    assert expected in str(refused.value)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["s.yaml"], ""),
        (["--worker"], "--worker --master-host 127.0.0.1 --master-port 5557"),
        (
            ["--worker", "--master-host", "h", "--processes", "3"],
            "--worker --master-host h --master-port 5557 --processes 3",
        ),
        (
            ["s.yaml", "--master", "--expect-workers", "4", "--master-bind-host", "10.0.0.5"],
            (
                "--master --expect-workers 4 --master-bind-port 5557 --master-bind-host 10.0.0.5 "
                "--expect-workers-max-wait 600"
            ),
        ),
    ],
)
def test_what_locust_is_told(words, expected):
    chosen = options(*words)
    workers.check(chosen)
    assert " ".join(workers.locust_words(chosen)) == expected


def test_processes_meet_on_a_port_of_their_own():
    first = workers.locust_words(options("s.yaml", "--processes", "2"))
    assert first[first.index("--master-bind-host") + 1] == "127.0.0.1"
    assert first[first.index("--master-bind-port") + 1] != "5557"
    assert first[first.index("--master-bind-port") + 1] == first[first.index("--master-port") + 1]


def test_a_wrong_combination_exits_before_anything_starts(capsys):
    from harness import cli

    assert cli.main(["run"]) == ExitCode.BAD_SCENARIO
    assert "SCENARIO: missing" in capsys.readouterr().err
