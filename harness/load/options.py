"""The options that plain `locust -f harness/load/locustfile.py` takes beside its own; each has a variable, too."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEFAULT_REPORTS_DIR = "reports"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Parsed once; nothing later reads Locust's namespace or the environment for them."""

    # None where none was named; a worker needs none, its master has one.
    scenario: Path | None
    # URL, or NAME=URL for each of several targets with blanks between.
    target: str | None
    only_targets: tuple[str, ...]
    seed: int | None
    run_dir: Path | None
    run_id: str | None
    corpus: Path | None
    calls: int | None
    # Length of the load, instead of the scenario's.
    minutes: float | None
    # Runbook file, instead of the scenario's.
    runbook: Path | None
    # Inherited descriptor on which a line of JSON a second tells the parent how the run goes.
    progress_fd: int | None
    # False when the parent process writes the reports.
    writes_report: bool


def add_arguments(parser: Any) -> None:
    """Add the options to Locust's parser; none of them can be changed in the web form."""
    group = parser.add_argument_group("Callquake", "What to call and how; see docs/scenarios.md.")

    def add(flag: str, variable: str, **settings: Any) -> None:
        group.add_argument(flag, env_var=f"CALLQUAKE_{variable}", **settings)

    add(
        "--scenario",
        "SCENARIO",
        metavar="FILE",
        default=None,
        help="scenario file (YAML); required, but for a worker",
    )
    add(
        "--target",
        "TARGET",
        metavar="URL",
        default=None,
        help='instead of the scenario\'s; of several targets "NAME=URL NAME=URL"',
    )
    add("--only-targets", "ONLY_TARGETS", metavar="NAMES", default="", help="of several targets, with blanks between")
    add("--seed", "SEED", metavar="N", type=int, default=None, help="seed, instead of the scenario's")
    add("--run-dir", "RUN_DIR", metavar="DIR", default=None, help="run directory; default reports/<run-id>")
    add("--corpus", "CORPUS", metavar="DIR", default=None, help="corpus folder, instead of the scenario's")
    add("--calls", "CALLS", metavar="N", type=int, default=None, help="place at most this many calls")
    add("--minutes", "MINUTES", metavar="N", type=float, default=None, help="length of the load, instead of its own")
    add("--runbook", "RUNBOOK", metavar="FILE", default=None, help="runbook file, instead of the scenario's")
    add("--run-id", "RUN_ID", default=None, help="name of the run in run.json; default: time, scenario, random")
    add("--progress-fd", "PROGRESS_FD", type=int, default=None, help="descriptor for progress, used by callquake run")
    add("--no-report", "NO_REPORT", action="store_true", help="leave the reports to `callquake report RUN_DIR`")
    for action in group._group_actions:  # noqa: SLF001  Locust marks actions with this attribute and offers no other way for a group
        action.include_in_web_ui = False


def read_options(parsed: Any) -> RunOptions:
    """Return the options."""
    return RunOptions(
        scenario=Path(parsed.scenario) if parsed.scenario else None,
        target=parsed.target,
        only_targets=tuple(parsed.only_targets.split()),
        seed=parsed.seed,
        run_dir=Path(parsed.run_dir) if parsed.run_dir else None,
        run_id=parsed.run_id,
        corpus=Path(parsed.corpus) if parsed.corpus else None,
        calls=parsed.calls,
        minutes=parsed.minutes,
        runbook=Path(parsed.runbook) if parsed.runbook else None,
        progress_fd=parsed.progress_fd,
        writes_report=not parsed.no_report,
    )
