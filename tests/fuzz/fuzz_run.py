"""The long run: `python tests/fuzz/fuzz_run.py --inputs 1000000` feeds every target its share, and prints the count.

`--seed` makes other inputs; `--target NAME --first N --inputs 1` feeds one input again.
"""

import argparse
import random
import resource
import sys
import time

from fuzz_media_loop import NAME as MEDIA_LOOP
from fuzz_media_loop import feed_media_loop
from fuzz_runner import TARGETS, Found, feed

_EVERY_S = 10.0
_MEDIA_SHARE = 0.1
# The caches of the parsers are bounded; this is far more than they hold when full.
_MOST_GROWTH_KB = 300_000


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="in all")
    parser.add_argument("--seed", type=int, default=None, help="default: drawn, and printed")
    parser.add_argument("--target", choices=[*(kind.name for kind in TARGETS), MEDIA_LOOP], help="only this one")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    asked = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(1_000_000) if asked.seed is None else asked.seed
    began, total = time.monotonic(), 0
    print(f"seed {seed}", flush=True)
    found = []
    for kind, share in TARGETS.items():
        if asked.target in (None, kind.name):
            inputs = asked.inputs if asked.target else max(1, round(asked.inputs * share))
            total += _noting(found, _run, kind, inputs, seed, asked.first)
    if asked.target in (None, MEDIA_LOOP):
        inputs = asked.inputs if asked.target else max(1, round(asked.inputs * _MEDIA_SHARE))
        total += _noting(found, _run_media_loop, inputs, seed)
    took = f"{total:,} inputs in {time.monotonic() - began:.0f} s"
    print(f"{took}: {len(found)} found" if found else f"{took}: no crash, no hang, nothing left behind")
    return 1 if found else 0


def _noting(found, run, *arguments):
    """Run one target; what it finds is told, and ends that target only."""
    try:
        return run(*arguments)
    except Found as what:
        print(f"FOUND: {what}", flush=True)
        found.append(what)
        return 0


def _run_media_loop(inputs, seed):
    told = feed_media_loop(inputs, seed)
    print(f"{MEDIA_LOOP}: {told.inputs:,} datagrams, {told.refused:,} refused; {told.notes}", flush=True)
    return told.inputs


def _run(kind, inputs, seed, first):
    last, grown_from = time.monotonic(), _memory_kb()

    def progress(told):
        nonlocal last
        if time.monotonic() - last > _EVERY_S:
            last = time.monotonic()
            print(f"  {kind.name}: {told.inputs:,} of {inputs:,}, {told.refused:,} refused", flush=True)

    told = feed(kind, inputs, seed, first, progress)
    notes = "".join(f", {count:,} {name}" for name, count in told.notes.items())
    print(
        f"{kind.name}: {told.inputs:,} inputs, {told.refused:,} refused{notes}; "
        f"slowest {told.slowest_s * 1000:.0f} ms of CPU (input {told.slowest})",
        flush=True,
    )
    grown = _memory_kb() - grown_from
    if grown > _MOST_GROWTH_KB:
        raise Found(f"{kind.name}: memory grew by {grown:,} kB")
    return told.inputs


def _memory_kb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    sys.exit(main())
