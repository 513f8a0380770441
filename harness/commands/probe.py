"""`callquake probe`: one call, and everything that can be told of it."""

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from harness.corpus.manifest import Corpus, load_corpus
from harness.exit_codes import ExitCode
from harness.model.codec import to_json
from harness.model.errors import GeneratorError, ScenarioError
from harness.model.plan import CallPlan, TargetSpec
from harness.model.records import CallRecord, Cause, Outcome, TurnRecord
from harness.model.secrets import redact
from harness.scenario.loader import load_scenario, problems_of
from harness.scenario.schema import Scenario

if TYPE_CHECKING:
    from harness.probe.call import Probed

SCHEMA_VERSION = 1
MAX_TIMEOUT_S = 300.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("url", metavar="URL", help="whom to call; or a scenario file, to call its target")
    target = parser.add_argument_group(
        "target",
        "as the keys of a scenario's target; docs/scenarios.md, webrtc.md, sip.md and media-streams.md tell each",
    )
    for option, (_, more) in _TARGET_OPTIONS.items():
        target.add_argument(option, **more)
    parser.add_argument("--say", metavar="UTTERANCE", help="id of the utterance to say (callquake corpus list)")
    parser.add_argument("--say-nothing", action="store_true", help="hang up after the greeting")
    parser.add_argument("--no-greeting", action="store_true", help="speak at once: the agent does not greet")
    parser.add_argument("--timeout", type=float, default=15.0, metavar="S", help="of each step (default: %(default)g)")
    parser.add_argument("--corpus", type=Path, metavar="DIR", help="corpus folder, instead of the one shipped")
    parser.add_argument("--record", type=Path, metavar="FILE", help="keep the audio: a .flac, left us, right the agent")
    parser.add_argument("--messages", action="store_true", help="show every message beside the audio")
    parser.add_argument("--json", action="store_true", help="print all of it as JSON instead")


def probe(options: argparse.Namespace) -> int:
    """Place the call and tell of it; return the exit code. Raises ScenarioError for a wrong option."""
    target = target_of(options)
    _check(options)
    corpus = load_corpus(options.corpus)
    # Imported late: no other command needs it.
    from harness.probe import words  # noqa: PLC0415
    from harness.probe.plan import Wish, call_plan, utterance_of  # noqa: PLC0415

    say = "" if options.say_nothing else utterance_of(corpus, options.say)
    wish = Wish(say, not options.no_greeting, options.record is not None, options.timeout)
    with tempfile.TemporaryDirectory(prefix="callquake-probe-") as name:
        folder = Path(name)
        try:
            probed = asyncio.run(_place(call_plan(target, wish), corpus, folder))
        except GeneratorError as error:
            print(f"probe: {error}", file=sys.stderr)
            return ExitCode.VOID
        except asyncio.CancelledError as error:
            raise KeyboardInterrupt from error
        recording = _keep(options.record, folder, probed.call)
    if options.json:
        told = as_json(target, probed.call, probed.turns, probed.media_loop, recording)
        print(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        print("\n".join(words.lines(probed, with_messages=options.messages)))
        if recording is not None:
            print(f"  recording      {recording}")
    return exit_code(probed.call, probed.turns)


async def _place(plan: CallPlan, corpus: Corpus, folder: Path) -> "Probed":
    """Place the call as the task that SIGTERM cancels, as Ctrl-C does: it hangs up and tells what there is."""
    from harness.probe.call import place  # noqa: PLC0415 - late, as in `probe`

    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await place(plan, corpus, folder)


def as_json(
    target: TargetSpec, call: CallRecord, turns: Sequence[TurnRecord], media_loop: str, recording: Path | None
) -> dict[str, Any]:
    """Return everything a probe found, without secrets."""
    return {
        "schema_version": SCHEMA_VERSION,
        "target": redact(to_json(target)),
        "call": {**to_json(call), "recording": None if recording is None else str(recording)},
        "turns": to_json(list(turns)),
        "media_loop": media_loop,
    }


def exit_code(call: CallRecord, turns: Sequence[TurnRecord]) -> int:
    """Return 0 where the call was up and what was asked for was heard."""
    if call.cause is Cause.GENERATOR_ERROR or call.outcome is Outcome.LOST:
        return ExitCode.VOID
    if call.outcome is Outcome.FAILED:
        return ExitCode.TARGET_UNREACHABLE
    if call.outcome is Outcome.INTERRUPTED:
        return ExitCode.INTERRUPTED
    is_heard = call.greeting_ms is not None if not call.turns_planned else call.turns_answered > 0
    return ExitCode.PASSED if is_heard and len(turns) >= call.turns_planned else ExitCode.NO_DATA


def _check(options: argparse.Namespace) -> None:
    if not 0 < options.timeout <= MAX_TIMEOUT_S:
        raise ScenarioError(f"--timeout: got {options.timeout:g}; legal: seconds above 0, at most {MAX_TIMEOUT_S:g}")
    if options.say is not None and options.say_nothing:
        raise ScenarioError("--say-nothing: --say is given, too; legal: one of the two")
    if options.say_nothing and options.no_greeting:
        raise ScenarioError("--say-nothing: with --no-greeting nobody would say anything; legal: one of the two")
    record = options.record
    if record is not None and (record.suffix != ".flac" or not record.parent.is_dir()):
        raise ScenarioError(f"--record: got {record}; legal: a file in an existing folder, whose name ends in .flac")


def _keep(wanted: Path | None, folder: Path, call: CallRecord) -> Path | None:
    """Move the recording to where it is wanted; None where there is none."""
    if wanted is None or call.recording is None:
        return None
    shutil.move(folder / call.recording, wanted)
    return wanted


# --- the target ----------------------------------------------------------------------------------------------------


def target_of(options: argparse.Namespace) -> TargetSpec:
    """Return whom to call; raises ScenarioError naming the option's key and what is legal."""
    said = _said(options)
    path = Path(options.url)
    if path.suffix in (".yaml", ".yml"):
        if said:
            option = next(name for name in _TARGET_OPTIONS if getattr(options, _dest(name)) is not None)
            raise ScenarioError(f"{option}: {path} says what the target is; legal: the option with an address")
        scenario = load_scenario(path, environ=os.environ).scenario
        try:
            return scenario.target_spec()
        except ValueError as error:
            raise ScenarioError(f"{path}: {error}; legal: a scenario with one target, or an address") from error
    return _validated({"url": options.url, **said})


def _validated(target: dict[str, Any]) -> TargetSpec:
    scenario = {
        "name": "probe",
        "target": target,
        "callers": [{"name": "probe"}],
        "load": {"arrivals": {"rate_per_minute": 1.0, "calls": 1}},
    }
    try:
        context = {"environ": os.environ, "folder": Path.cwd()}
        return Scenario.model_validate(scenario, context=context).target_spec()
    except ValidationError as error:
        raise ScenarioError("\n".join(problems_of(error))) from error


def _said(options: argparse.Namespace) -> dict[str, Any]:
    """Return what the options say of the target, as a scenario's `target` would."""
    target: dict[str, Any] = {}
    for option, (path, _) in _TARGET_OPTIONS.items():
        value = getattr(options, _dest(option))
        if value is None:
            continue
        *blocks, key = path.split(".")
        block = target
        for name in blocks:
            block = block.setdefault(name, {})
        block[key] = dict(value) if key in ("headers", "parameters") else value
    if servers := target.get("ice", {}).pop("server", None):
        target["ice"]["servers"] = [servers]
    return target


def _dest(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"got {text!r}; legal: 'Name: value'")
    return name.strip(), value.strip()


def _parameter(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"got {text!r}; legal: name=value")
    return name, value


_YES: dict[str, Any] = {"action": "store_const", "const": True}
# Option -> (path below `target`, what argparse must know).
_TARGET_OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "--transport": ("transport", {"metavar": "NAME", "help": "webrtc, rtp, sip, media_stream; default: the URL's"}),
    "--dialect": (
        "dialect",
        {
            "metavar": "NAME",
            "help": "http: pipecat, json, whip, openai; ws: twilio, telnyx, plivo, exotel, vonage, jambonz",
        },
    ),
    "--header": (
        "headers",
        {"action": "append", "type": _header, "metavar": "'NAME: VALUE'", "help": "may name a variable, '${TOKEN}'"},
    ),
    "--codec": (
        "codec",
        {"metavar": "NAME", "help": "rtp, sip: PCMU, PCMA, G722, opus; media_stream: PCMU, PCMA, L16"},
    ),
    "--srtp": ("srtp", {"metavar": "WORD", "help": "rtp, sip: off, offered, required"}),
    "--ice-policy": ("ice.policy", {"metavar": "WORD", "help": "all, relay, host"}),
    "--ice-server": ("ice.server.urls", {"action": "append", "metavar": "URL", "help": "stun:, turn:, turns:"}),
    "--ice-username": ("ice.server.username", {"metavar": "NAME", "help": "of the TURN server"}),
    "--ice-credential": ("ice.server.credential", {"metavar": "WORD", "help": "better '${TURN_PASSWORD}'"}),
    "--ice-ca": ("ice.tls_ca", {"metavar": "FILE", "help": "PEM to trust for turns:"}),
    "--sip-from": ("sip.from", {"metavar": "URI", "help": "the caller's address"}),
    "--sip-proxy": ("sip.proxy", {"metavar": "URI", "help": "outbound proxy, like 'sip:host:port;lr'"}),
    "--sip-username": ("sip.username", {"metavar": "NAME", "help": "of the account that answers a 401 or 407"}),
    "--sip-password": ("sip.password", {"metavar": "WORD", "help": "better '${SIP_PASSWORD}'"}),
    "--sip-register": ("sip.register", {**_YES, "help": "REGISTER first"}),
    "--sip-transport": ("sip.transport", {"metavar": "NAME", "help": "udp, tcp, tls"}),
    "--sip-ca": ("sip.tls_ca", {"metavar": "FILE", "help": "PEM to trust for TLS"}),
    "--sip-any-certificate": (
        "sip.tls_verify",
        {"action": "store_const", "const": False, "help": "take any certificate"},
    ),
    "--stream-parameter": (
        "stream.parameters",
        {"action": "append", "type": _parameter, "metavar": "NAME=VALUE", "help": "told in the start message"},
    ),
    "--stream-ca": ("stream.ca", {"metavar": "FILE", "help": "PEM to trust for wss://"}),
}
