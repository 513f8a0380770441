"""`callquake`: parses the command line, calls the command, exits with its code."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import harness
from harness.exit_codes import ExitCode

_INTERRUPTED = "interrupted before the first call"
try:
    from harness.commands import (
        analyze,
        calibrate,
        compare,
        demo,
        failures,
        faults,
        incident,
        intelligibility,
        probe,
        report,
        run,
        runbook,
        scenario,
        wer_under_load,
        workers,
    )
    from harness.faults.journal import replay
    from harness.model.errors import ScenarioError, TargetError
except KeyboardInterrupt:
    # They take a third of a second; Ctrl-C in it is no reason for a traceback.
    print(_INTERRUPTED, file=sys.stderr)
    sys.exit(ExitCode.INTERRUPTED)

_EPILOG = """\
examples:
  callquake demo                                 models, bundled agent, five calls, verdict: everything in one command
  callquake up --profile cpu --sip-port 5060     start the bundled agent on 127.0.0.1 (another terminal): WebRTC, SIP
  callquake run scenarios/smoke.yaml             five calls against it, then verdict and report
  callquake run scenarios/ramp.yaml --web        Locust's web UI: ramp callers by hand, watch TTFB and WER
  callquake run my.yaml --target http://agent.test/api/offer --seed 7
  callquake run my.yaml --target sip:agent@10.0.0.5                  the same callers by phone; ws:// is a media stream
  callquake report reports/<run-id>              every number again from the records on disk
  callquake compare reports/before reports/after what changed, with intervals
  callquake probe sip:agent@10.0.0.5             one call: what was negotiated, how long each step took, what was said
  callquake analyze call.wav                     a recorded call: TTFB of every turn, yield, talk-over, dead air
  callquake calibrate                            how many callers does this machine hold, how true is its TTFB?
  callquake scenario check my.yaml               is the file right? which calls would it place?
  callquake fault list                           what can be broken on purpose, in a scenario or by hand
  callquake failures run tts_saturation          a failure mode twice: fix off must fail, fix on must pass

exit codes: 0 passed, 97 no data, 98 void, 99 threshold failed, 103 target unreachable, 104 bad scenario or option,
105 interrupted (docs/exit-codes.md). `callquake COMMAND --help` tells more.
"""
_RUN_EPILOG = """\
The scenario, its corpus and its thresholds are checked, and the target is asked for an answer, before the first call.
The run then goes through Locust headless, or with --web in its web UI. Records are in the run directory within a second
of the event; Ctrl-C ends the calls and still writes the reports, a second Ctrl-C ends everything at once.

examples:
  callquake run scenarios/smoke.yaml
  callquake run scenarios/smoke.yaml --target http://127.0.0.1:7860/api/offer --calls 2
  callquake run scenarios/side_by_side.yaml --target phone=sip:agent@10.0.0.5 --calls 8
  callquake run scenarios/smoke.yaml --seed 7 --run-dir reports/before-fix
  callquake run scenarios/ramp.yaml --web --web-port 8089
  callquake run scenarios/smoke.yaml --processes 4
  callquake run scenarios/smoke.yaml --master --expect-workers 2      (and on two other machines:)
  callquake run --worker --master-host 10.0.0.5
"""
_PROBE_EPILOG = """\
One call from this machine, told in full: requests and answers, what was negotiated (ICE pair, DTLS, SRTP, codec), each
step's time, the greeting, one turn with its TTFB, what the agent heard and said, packet counts. The address decides the
transport, as in a scenario's target.

examples:
  callquake probe http://127.0.0.1:8080/api/offer                       a Pipecat agent, RTVI beside the audio
  callquake probe https://agent.test/whip --dialect whip --header 'Authorization: Bearer ${TOKEN}'
  callquake probe https://api.test/v1/realtime/calls --dialect openai --header 'Authorization: Bearer ${KEY}' --messages
  callquake probe http://agent.test/api/offer --ice-policy relay \\
      --ice-server 'turn:turn.test:3478?transport=tcp' --ice-username me --ice-credential '${TURN_PASSWORD}'
  callquake probe rtp://10.0.0.7:4000 --codec PCMA --no-greeting        plain RTP, nothing is agreed on
  callquake probe 'sip:agent@pbx.test;transport=tls' --srtp required --sip-username 7 --sip-password '${SIP_PASSWORD}'
  callquake probe wss://agent.test/media --dialect twilio --stream-parameter tenant=42
  callquake probe audiosocket://10.0.0.7:9092
  callquake probe my.yaml --record call.flac                            the target of a scenario file
  callquake probe http://127.0.0.1:8080/api/offer --json | jq .call.setup

exit codes: 0 the agent was heard (its answer, or with --say-nothing its greeting), 97 the call was up and it was not,
98 this machine could not do its part, 103 the call did not come up, 104 wrong option, 105 interrupted.
"""
_CALIBRATE_EPILOG = """\
The climb ends at the first step whose TTFB error (p99) is over 5 ms, whose 20 ms ticks are over 2 ms late (p99), that
lost a packet, or that used more than 90 % of its core. Run it on an idle machine; Ctrl-C keeps the steps measured so
far as a partial calibration. Exits with 98 when not even the first step was within the bounds. docs/calibrate.md.

examples:
  callquake calibrate
  callquake calibrate --transport rtp --codec PCMU --callers 500,1000,2000
  callquake calibrate --transport sip                                   SIP by UDP, PCMU: every call by INVITE and BYE
  callquake calibrate --silence dtx --loss 0.02 --json calibration.json
  callquake calibrate --quick
"""
# Commands of other programs of this project: name, module, words before the user's own.
_PASSED_ON = {
    "up": ("target_stack", ["up"], "start the bundled target stack"),
    "serve": ("target_stack", ["serve"], "the bundled target stack's recogniser or voice as a server of its own"),
    "models": ("target_stack", ["models"], "fetch and check the bundled target stack's models"),
    "stages": ("target_stack", ["stages"], "measure how long the stages take here, for the emulated profile"),
    "compliance": ("target_stack", ["compliance"], "what the bundled target stack recorded: audit, consents, deletion"),
    "corpus": ("harness.corpus", [], "the clips that callers speak: build, import your own, list, play, check, score"),
    "toxiproxy": ("harness.toxiproxy", [], "a TCP proxy that breaks what passes it, with Toxiproxy's API"),
}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="callquake",
        description="Load and chaos harness for voice agents: real callers, true TTFB, WER and drop-off, a verdict.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_run(commands)
    _add_demo(commands)
    _add_report(commands)
    _add_wer(commands)
    _add_scenario(commands)
    _add_probe(commands)
    _add_calibrate(commands)
    analyze.add_to(commands)
    compare.add_to(commands)
    incident.add_to(commands)
    _add_run_options(incident.add_replay(commands))
    runbook.add_to(commands)
    faults.add_to(commands)
    failures.add_to(commands)
    for name, (_, _, text) in _PASSED_ON.items():
        commands.add_parser(name, help=f"{text}; its own options: callquake {name} --help", add_help=False)
    commands.add_parser("version", help="print the version")
    return parser


def _add_run(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    run_parser = commands.add_parser(
        "run",
        help="run a scenario, then judge and report it",
        description="Run a scenario, judge it by its thresholds, write the reports.",
        epilog=_RUN_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run_parser.add_argument("scenario", nargs="?", type=Path, metavar="SCENARIO", help="scenario file (YAML)")
    _add_run_options(run_parser)
    run_parser.set_defaults(call=run.run)


def _add_run_options(run_parser: argparse.ArgumentParser) -> None:
    """Add what a run can be told, whether of a scenario or of an incident."""
    run_parser.add_argument(
        "--target",
        action="append",
        metavar="[NAME=]URL",
        help="address, instead of the scenario's; of several targets with the name of the one meant, once for each",
    )
    run_parser.add_argument(
        "--only-target",
        action="append",
        metavar="NAME",
        help="of a scenario with several targets, call this one alone; may be repeated",
    )
    run_parser.add_argument("--seed", type=int, metavar="N", help="same seed, same calls; instead of the scenario's")
    run_parser.add_argument("--calls", type=int, metavar="N", help="place at most this many calls")
    run_parser.add_argument(
        "--minutes",
        type=float,
        metavar="N",
        help="length of the load, instead of the scenario's; its stages keep their shares",
    )
    run_parser.add_argument(
        "--audit-pid",
        action="append",
        metavar="[NAME=]PID",
        help="a process of the target for the leak audit; of one that tells none. May be repeated",
    )
    run_parser.add_argument("--run-dir", type=Path, metavar="DIR", help="default: reports/<run-id>")
    run_parser.add_argument("--runbook", type=Path, metavar="FILE", help="runbook, instead of the scenario's")
    run_parser.add_argument("--webhook", metavar="URL", help="POST each alert there as JSON, while the run goes")
    run_parser.add_argument("--corpus", type=Path, metavar="DIR", help="corpus folder, instead of the scenario's")
    mode = run_parser.add_mutually_exclusive_group()
    mode.add_argument("--headless", action="store_true", help="without web UI (the default)")
    mode.add_argument("--web", action="store_true", help="Locust's web UI; every start and stop is a run of its own")
    run_parser.add_argument("--web-port", type=int, default=8089, metavar="PORT", help="default: %(default)s")
    run_parser.add_argument("--web-host", default="127.0.0.1", metavar="HOST", help="default: %(default)s")
    workers.add_arguments(run_parser)


def _add_demo(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    demo_parser = commands.add_parser(
        "demo",
        help="bundled agent and smoke scenario in one command",
        description="Fetch and check the models, start the bundled agent, run a scenario against it, stop it.",
    )
    demo.add_arguments(demo_parser)
    demo_parser.set_defaults(call=demo.demo)


def _add_report(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    report_parser = commands.add_parser(
        "report",
        help="judge and report a run again from its records",
        description="Compute every number of a run again from its records, and write summary.json, verdict.json, "
        "junit.xml and report.html anew. Exits with the verdict's code.",
    )
    report_parser.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="like reports/<run-id>")
    report_parser.add_argument("--runbook", type=Path, metavar="FILE", help="runbook, instead of the run's own")
    report_parser.set_defaults(call=report.report)


def _add_wer(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add what is measured on runs that are over: WER of one against another, and of the agent's own speech."""
    for name, command, call, text in (
        ("wer-under-load", wer_under_load, wer_under_load.wer_under_load, "WER of the same words idle and loaded"),
        ("intelligibility", intelligibility, intelligibility.intelligibility, "how well the agent is understood"),
    ):
        parser = commands.add_parser(
            name,
            help=text,
            description=command.DESCRIPTION,
            epilog=command.EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(parser)
        parser.set_defaults(call=call)


def _add_scenario(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    scenario_parser = commands.add_parser("scenario", help="check and list scenarios, print their schema")
    actions = scenario_parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser("check", help="check files and say which calls they would place")
    check.add_argument("files", nargs="+", type=Path, metavar="FILE")
    check.add_argument("--corpus", type=Path, metavar="DIR", help="corpus folder, instead of the scenario's")
    check.set_defaults(call=scenario.check)
    schema = actions.add_parser("schema", help="print the JSON Schema of a scenario file, for your editor")
    schema.set_defaults(call=scenario.schema)
    listing = actions.add_parser("list", help="list the scenarios of a folder")
    listing.add_argument("folder", nargs="?", type=Path, default=Path("scenarios"), metavar="FOLDER")
    listing.set_defaults(call=scenario.list_folder)


def _add_probe(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    probe_parser = commands.add_parser(
        "probe",
        help="one call, with everything that can be told of it",
        description="Call an agent once and tell everything: what was negotiated, each step's time, what was said.",
        epilog=_PROBE_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    probe.add_arguments(probe_parser)
    probe_parser.set_defaults(call=probe.probe)


def _add_calibrate(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    calibrate_parser = commands.add_parser(
        "calibrate",
        help="measure how many callers this machine holds, and how true its TTFB is then",
        description="Call the reference responder with more and more callers until one engine of this machine no\n"
        "longer keeps time, and keep the result for `callquake run` and its reports.",
        epilog=_CALIBRATE_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    calibrate.add_arguments(calibrate_parser)
    calibrate_parser.set_defaults(call=calibrate.calibrate)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    # What a run that was killed has left broken is mended before anything else.
    replay(os.environ, lambda text: print(text, file=sys.stderr, flush=True))
    if words and words[0] in _PASSED_ON:
        module, before, _ = _PASSED_ON[words[0]]
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, "-m", module, *before, *words[1:]])  # noqa: S606  our own module, no shell
    options = build_parser().parse_args(words)
    if options.command == "version":
        print(f"callquake {harness.__version__}")
        return ExitCode.PASSED
    try:
        return int(options.call(options))
    except KeyboardInterrupt:
        print(_INTERRUPTED if options.command == "run" else f"{options.command}: interrupted", file=sys.stderr)
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has seen enough; let Python's own flush at exit find nothing to write to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.PASSED
    except OSError as error:
        print(f"{options.command}: {error}", file=sys.stderr)
        return ExitCode.LOCUST_ERROR
    except ScenarioError as error:
        print(error, file=sys.stderr)
        return ExitCode.BAD_SCENARIO
    except TargetError as error:
        print(error, file=sys.stderr)
        return ExitCode.TARGET_UNREACHABLE


if __name__ == "__main__":
    sys.exit(main())
