"""Which calls count as having found nobody, ten of which in a row end a run."""

import pytest

from harness.load.target_watch import TargetWatch
from harness.model.records import Cause, Outcome

pytestmark = pytest.mark.unit


def row(outcome, cause, *, connected=None, received=0, dropped=0):
    media = {"packets_received": received, "impaired_lost_incoming": dropped}
    return {"outcome": outcome, "cause": cause, "connected_at_ns": connected, "media": media}


REFUSED = row(Outcome.FAILED, Cause.SIGNALLING_UNREACHABLE)
SILENT = row(Outcome.DROPPED, Cause.MEDIA_LOST, connected=5)
FELL_SILENT = row(Outcome.DROPPED, Cause.MEDIA_LOST, connected=5, received=100)
ALL_DROPPED = row(Outcome.DROPPED, Cause.MEDIA_LOST, connected=5, dropped=100)
HUNG_UP = row(Outcome.INTERRUPTED, Cause.OPERATOR, connected=5)
DONE = row(Outcome.COMPLETED, Cause.NONE, connected=5, received=900)


@pytest.mark.parametrize(
    ("url", "rows", "unreachable"),
    [
        ("http://127.0.0.1:8080/offer", (REFUSED, REFUSED), 2),
        ("http://127.0.0.1:8080/offer", (REFUSED, DONE, REFUSED), 1),
        # Who answers the offer is there, whatever becomes of the media.
        ("http://127.0.0.1:8080/offer", (REFUSED, SILENT), 0),
        ("rtp://127.0.0.1:4000", (SILENT, SILENT, SILENT), 3),
        ("rtp://127.0.0.1:4000", (SILENT, FELL_SILENT), 0),
        ("rtp://127.0.0.1:4000", (SILENT, ALL_DROPPED), 0),
        ("rtp://127.0.0.1:4000", (SILENT, HUNG_UP), 0),
    ],
)
def test_calls_in_a_row_that_found_nobody_are_counted(url, rows, unreachable):
    watch = TargetWatch(url)
    found_nobody = [watch.see(one) for one in rows]
    assert watch.unreachable == unreachable
    assert found_nobody[-1] is (unreachable > 0)
