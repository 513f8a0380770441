"""What the front counts; touched on the event loop only."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class FrontCounts:
    """All only grow. Sessions by kind: webrtc, stream, sip."""

    # Sessions given to a server, by (server, kind), and refused with 503.
    given: Counter[tuple[str, str]] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    # Sessions whose first server's line was broken or full, so that another one got them.
    rerouted: int = 0
    # Calls that ended because their server's process did, by server.
    lost_calls: Counter[str] = field(default_factory=Counter)
    # Processes begun in place of one that died, by server.
    restarts: Counter[str] = field(default_factory=Counter)
