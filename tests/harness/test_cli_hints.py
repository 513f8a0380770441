"""What `callquake` says of a scenario that is legal and not what somebody wants, or whose corpus is not there."""

import pytest

from harness import cli
from harness.exit_codes import ExitCode
from harness.model.errors import TargetError

pytestmark = pytest.mark.unit

SCENARIO = """\
name: tiny
target: {url: "http://127.0.0.1:1/api/offer"}
callers: [{name: any}]
load: {arrivals: {rate_per_minute: 6, calls: 1, distribution: uniform}}
"""
HINT = "no thresholds: the verdict will be NO DATA"


@pytest.fixture
def scenario(tmp_path):
    path = tmp_path / "tiny.yaml"

    def write(added=""):
        path.write_text(SCENARIO + added)
        return str(path)

    return write


@pytest.fixture
def _nobody_answers(monkeypatch):
    def refuse(url):
        raise TargetError(url)

    monkeypatch.setattr("harness.commands.run.probe_all", refuse)


@pytest.mark.usefixtures("_nobody_answers")
@pytest.mark.parametrize("words", [["scenario", "check"], ["run"]])
def test_a_scenario_without_thresholds_gets_a_hint(words, scenario, capsys):
    cli.main([*words, scenario()])
    assert HINT in capsys.readouterr().out
    cli.main([*words, scenario("thresholds: [response_ratio > 0.5]\n")])
    assert HINT not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("fault", "hint"),
    [
        ("start_s: 60", "fault network.loss begins after 60 s, the last call ends after 45 s at the latest, and the"),
        ("start_s: 44", ""),
        ("filter: {share: 0}", "fault network.loss: a share of 0 touches no call, and the verdict will be NO DATA"),
        ("filter: {share: 0.1}", ""),
    ],
)
def test_a_fault_that_can_do_nothing_gets_a_hint(fault, hint, scenario, capsys):
    added = f"""\
thresholds: [response_ratio > 0.5]
limits: {{call_timeout_s: 45}}
faults: [{{kind: network.loss, parameters: {{loss_ratio: 0.1}}, {fault}}}]
"""
    assert cli.main(["scenario", "check", scenario(added)]) == ExitCode.PASSED
    told = capsys.readouterr().out
    assert (hint in told, "hint" in told) == (True, bool(hint))


def test_a_missing_corpus_is_told_with_the_place_that_chose_it(scenario, tmp_path, capsys):
    file = scenario("corpus: nowhere\n")
    assert cli.main(["scenario", "check", file]) == ExitCode.BAD_SCENARIO
    assert capsys.readouterr().err.startswith(f"{file}:5: corpus: {tmp_path / 'nowhere'}")
    assert cli.main(["scenario", "check", file, "--corpus", str(tmp_path / "gone")]) == ExitCode.BAD_SCENARIO
    assert capsys.readouterr().err.startswith(f"--corpus: {tmp_path / 'gone'}")


def test_more_samples_than_a_run_has_calls_are_refused(scenario, capsys):
    file = scenario("thresholds: [{expr: response_ratio > 0.5, min_samples: 1000001}]\n")
    assert cli.main(["scenario", "check", file]) == ExitCode.BAD_SCENARIO
    assert f"{file}:5: thresholds[0].min_samples" in capsys.readouterr().err
