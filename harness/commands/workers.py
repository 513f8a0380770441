"""`callquake run` over several processes and machines: its options, checked, as Locust's own."""

import argparse
import socket

from harness.model.errors import ScenarioError

DEFAULT_PORT = 5557
# People start workers by hand, machine by machine; processes of ours start by themselves.
_WAIT_FOR_WORKERS_S = 600
_WAIT_FOR_PROCESSES_S = 120
_OF_THE_MASTER = ("scenario", "target", "only_target", "seed", "calls", "web")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `callquake run` that spread a run over workers."""
    group = parser.add_argument_group("several workers", "Each worker has an engine of its own; see docs/workers.md.")
    group.add_argument("--processes", type=int, metavar="N", help="N workers on this machine, one engine each")
    group.add_argument("--master", action="store_true", help="share the run out to workers on other machines")
    group.add_argument("--expect-workers", type=int, metavar="N", help="with --master: begin when N are there")
    group.add_argument("--master-bind-host", metavar="HOST", help="with --master: listen here only; default all")
    group.add_argument("--worker", action="store_true", help="take a share of a master's run; no SCENARIO needed")
    group.add_argument("--master-host", metavar="HOST", help="with --worker: where the master is; default 127.0.0.1")
    group.add_argument(
        "--master-port", type=int, metavar="PORT", help=f"with --master or --worker; default {DEFAULT_PORT}"
    )


def check(options: argparse.Namespace) -> None:
    """Refuse options that do not go together; raises ScenarioError listing every problem."""
    problems = [
        *_missing(options),
        *_counts(options),
        *_needs(options, ("expect_workers", "master_bind_host"), options.master, "--master"),
        *_needs(options, ("master_host",), options.worker, "--worker"),
        *_needs(options, ("master_port",), options.master or options.worker, "--master or --worker"),
    ]
    if options.worker:
        problems += [
            f"{_flag(name)}: a worker takes it from its master; legal with --worker: --master-host, --master-port, "
            "--processes, --corpus, --run-dir"
            for name in (*_OF_THE_MASTER, "master")
            if getattr(options, name)
        ]
    elif options.master and options.processes is not None:
        problems.append(
            "--processes: not with --master; start them beside it: callquake run --worker --processes "
            f"{options.processes}, and let --expect-workers count them"
        )
    if problems:
        raise ScenarioError("\n".join(problems))


def _missing(options: argparse.Namespace) -> list[str]:
    if options.scenario is None and not options.worker:
        return ["SCENARIO: missing; legal: the path of a scenario file, like scenarios/smoke.yaml"]
    return []


def _counts(options: argparse.Namespace) -> list[str]:
    """Return what is wrong with the numbers."""
    legal = {"processes": (1, 1024), "expect_workers": (1, 1024), "master_port": (1, 65535)}
    return [
        f"{_flag(name)}: got {getattr(options, name)}; legal: a whole number from {low} to {high}"
        for name, (low, high) in legal.items()
        if getattr(options, name) is not None and not low <= getattr(options, name) <= high
    ]


def _needs(options: argparse.Namespace, names: tuple[str, ...], is_given: bool, needed: str) -> list[str]:
    return [
        f"{_flag(name)}: only with {needed}" for name in names if getattr(options, name) is not None and not is_given
    ]


def _flag(name: str) -> str:
    return "SCENARIO" if name == "scenario" else "--" + name.replace("_", "-")


def locust_words(options: argparse.Namespace) -> list[str]:
    """Return Locust's options for what `check` has approved; none for a run of one process."""
    port = str(options.master_port or DEFAULT_PORT)
    if options.worker:
        words = ["--worker", "--master-host", options.master_host or "127.0.0.1", "--master-port", port]
        return [*words, "--processes", str(options.processes)] if options.processes else words
    if options.processes:
        # Two runs on one machine must not meet on Locust's usual port.
        port = str(_free_port())
        words = ["--processes", str(options.processes), "--master-bind-host", "127.0.0.1", "--master-bind-port", port]
        words += ["--master-host", "127.0.0.1", "--master-port", port]
        return [*words, "--expect-workers-max-wait", str(_WAIT_FOR_PROCESSES_S)]
    if not options.master:
        return []
    words = ["--master", "--expect-workers", str(options.expect_workers or 1), "--master-bind-port", port]
    words += ["--master-bind-host", options.master_bind_host or "*"]
    return [*words, "--expect-workers-max-wait", str(_WAIT_FOR_WORKERS_S)]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
