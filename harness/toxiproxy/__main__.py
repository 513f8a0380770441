"""`callquake toxiproxy`: the proxy from the command line."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.exit_codes import ExitCode
from harness.model.errors import ScenarioError
from harness.toxiproxy.proxy import address
from harness.toxiproxy.serving import DEFAULT_API, proxies_from, proxy_from, serve

_EPILOG = """\
A hop is broken between its client and its server: have the client connect to a proxy, and the proxy to the server. The
API is that of Shopify's Toxiproxy, which serves as well where you have it: the faults toxiproxy.* and every Toxiproxy
client speak to both.

examples:
  callquake toxiproxy --proxy llm=127.0.0.1:8666,127.0.0.1:8000     the bundled agent's way to a language model server
  callquake up --llm-url http://127.0.0.1:8666                      goes through the proxy
  callquake fault start toxiproxy.latency proxy=llm latency_ms=800 --for 30s

exit codes: 0 ended, 1 an address is taken, 104 wrong option.
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = argparse.ArgumentParser(
        prog="callquake toxiproxy",
        description="A TCP proxy that breaks what passes it, with Toxiproxy's API.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--api", default=DEFAULT_API, metavar="HOST:PORT", help="where the API listens (%(default)s)")
    parser.add_argument(
        "--proxy", action="append", default=[], metavar="NAME=LISTEN,UPSTREAM", help="a proxy to begin with"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="proxies as Toxiproxy's -config has them (JSON)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C; return the exit code."""
    options = build_parser().parse_args(argv)
    try:
        where = _api_address(options.api)
        proxies = proxies_from(options.config) if options.config is not None else []
        proxies += [proxy_from(word) for word in options.proxy]
        asyncio.run(serve(where, proxies, lambda line: print(line, flush=True)))
    except ScenarioError as error:
        print(error, file=sys.stderr)
        return ExitCode.BAD_SCENARIO
    except OSError as error:
        print(f"--api {options.api}: {error}", file=sys.stderr)
        return ExitCode.LOCUST_ERROR
    return ExitCode.PASSED


def _api_address(word: str) -> tuple[str, int]:
    try:
        return address(word)
    except ValueError as error:
        raise ScenarioError(f"--api: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
