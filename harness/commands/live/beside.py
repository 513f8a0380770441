"""Everything that goes on beside a headless run, begun and ended with it."""

import argparse
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from harness.commands.live.audit_watch import AuditWatch
from harness.commands.live.target_poll import TargetPoll
from harness.commands.live.target_processes import TargetProcesses, from_option
from harness.commands.live.watch import AlertWatch
from harness.commands.live.webhook import Webhook, check_url
from harness.model.errors import ScenarioError
from harness.report.analysis import load_runbook
from harness.scenario.audit_block import AuditBlock
from harness.scenario.check import Prepared
from harness.scenario.faults import admin_of, origin_of

_POLLED = ("http", "ws")


def check(options: argparse.Namespace) -> None:
    """Refuse a webhook, or processes to audit, that cannot be; raises ScenarioError."""
    if options.audit_pid:
        from_option(options.audit_pid)
        if options.web or options.worker:
            raise ScenarioError("--audit-pid: not with --web or --worker; a headless run's process does the leak audit")
    if options.webhook is None:
        return
    check_url(options.webhook)
    if options.web or options.worker:
        raise ScenarioError("--webhook: not with --web or --worker; alerts are told by the process of a headless run")


@contextmanager
def beside(
    options: argparse.Namespace,
    prepared: Prepared,
    run_dir: Path,
    run_id: str,
    infos: Mapping[str, Mapping[str, Any] | None],
) -> Iterator[None]:
    """Watch for alerts and leaks, and ask the bundled agent for its metrics, while the run goes.

    Workers on other machines have clocks of their own, which only the report sets right: a master's run is not watched.
    """
    with ExitStack() as stack:
        audit = _audit(options, prepared, run_dir)
        if audit is not None:
            audit.start()
            # The last to be closed: it waits for the target to come to rest.
            stack.callback(audit.close)
        for poll in _polls(prepared, run_dir, infos):
            poll.start()
            stack.callback(poll.close)
        if not options.master:
            hook = Webhook(options.webhook) if options.webhook else None
            info = next(iter(infos.values()), None) if len(infos) == 1 else None
            rules = load_runbook(prepared.runbook).rules
            watch = AlertWatch(run_dir, run_id, rules, webhook=hook, target_info=info)
            watch.start()
            stack.callback(watch.close)
        yield


def _audit(options: argparse.Namespace, prepared: Prepared, run_dir: Path) -> AuditWatch | None:
    """Return the leak audit where the scenario or the command line asks for one."""
    named = from_option(options.audit_pid or ())
    said = prepared.loaded.scenario.audit
    if said is None and not named:
        return None
    block = said or AuditBlock()
    block = block.model_copy(update={"processes": [*block.processes, *named]})
    urls = [target.url for target in prepared.targets.values()]
    admin = admin_of(prepared.loaded.scenario, urls, os.environ)
    origins = dict.fromkeys(origin for url in urls if (origin := origin_of(url)))
    if admin is not None:
        origins.setdefault(admin.url)
    return AuditWatch(run_dir, block, TargetProcesses(list(origins), block.processes, prepared.loaded.path.parent))


def _polls(prepared: Prepared, run_dir: Path, infos: Mapping[str, Mapping[str, Any] | None]) -> list[TargetPoll]:
    """Return a poll for each bundled agent: only those name their profile. One origin is asked once."""
    ours = [
        target.url
        for name, target in prepared.targets.items()
        if target.url.startswith(_POLLED) and "profile" in (infos.get(name) or {})
    ]
    origins = {url.split("/")[2]: url for url in ours}
    return [TargetPoll(url, run_dir) for url in origins.values()]
