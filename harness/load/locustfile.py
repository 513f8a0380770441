"""Callquake in Locust: `locust -f harness/load/locustfile.py --scenario scenarios/smoke.yaml`, headless or web UI.

`callquake run` starts just this. Exit codes are those of docs/exit-codes.md.
"""

import signal
import sys
from typing import Any, NoReturn

import gevent
import locust
from locust.runners import WorkerRunner

from harness.exit_codes import ExitCode
from harness.load import options, progress, runs, web_ui
from harness.load.cluster.worker import Worker
from harness.load.users import VoiceUser
from harness.model.errors import ScenarioError, TargetError
from harness.scenario import check, reachability

__all__ = ["VoiceUser"]

# Half of Locust has no type hints.
_events: Any = locust.events


@_events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _add_arguments(parser: Any) -> None:
    options.add_arguments(parser)


@_events.init.add_listener  # type: ignore[untyped-decorator]
def _on_init(environment: Any, **_: Any) -> None:
    try:
        if isinstance(environment.runner, WorkerRunner):
            Worker(environment, options.read_options(environment.parsed_options)).attach()
            return
        run = _prepare(environment)
    except ScenarioError as error:
        _refuse(str(error), ExitCode.BAD_SCENARIO)
    except TargetError as error:
        _refuse(str(error), ExitCode.TARGET_UNREACHABLE)
    run.attach()
    if environment.web_ui is not None:
        web_ui.extend(run)
    if run.options.progress_fd is not None:
        gevent.spawn(progress.report_progress, run, run.options.progress_fd)
    gevent.signal_handler(signal.SIGINT, _on_sigint, run)


def _prepare(environment: Any) -> runs.Runs:
    chosen = options.read_options(environment.parsed_options)
    if chosen.scenario is None:
        raise ScenarioError("--scenario: missing; legal: the path of a scenario file, like scenarios/smoke.yaml")
    prepared = check.prepare(
        chosen.scenario,
        url=chosen.target,
        seed=chosen.seed,
        corpus_dir=chosen.corpus,
        calls=chosen.calls,
        only=chosen.only_targets,
        runbook=chosen.runbook,
        minutes=chosen.minutes,
    )
    runs.check_run_dir(chosen.run_dir)
    return runs.Runs(environment, prepared, chosen, reachability.probe_all(prepared.targets))


def _refuse(message: str, code: ExitCode) -> NoReturn:
    print(message, file=sys.stderr, flush=True)
    sys.exit(code)


def _on_sigint(run: runs.Runs) -> None:
    """Ctrl-C: the calls end, the reports are written. In the web UI the server ends, too."""
    run.interrupt("interrupted by SIGINT (Ctrl-C, or callquake told to stop)")
    # A headless run ends by its shape at the next tick; anything else has to be told.
    if run.session is None or run.environment.web_ui is not None:
        run.environment.runner.quit()
    if run.session is None and run.environment.web_ui is None:
        # A master that waits for workers asks nobody whether it should.
        gevent.kill(gevent.get_hub().parent, SystemExit(int(ExitCode.INTERRUPTED)))
    if run.environment.web_ui is not None:
        run.environment.web_ui.stop()
