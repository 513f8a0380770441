"""`callquake report`: every number of a run again, from its records."""

import argparse

from harness.report.finish import finish_run


def report(options: argparse.Namespace) -> int:
    """Write the reports of `options.run_dir` anew and return the verdict's exit code; raises ScenarioError."""
    return finish_run(options.run_dir, runbook=options.runbook).exit_code
