"""When does the agent become audible, and when silent? A detector of sustained speech over a row of FIELDS.

The level of each 5 ms window is held against an adaptive gate:

    gate = max(MINIMUM_GATE_DBFS, floor + GATE_OVER_FLOOR_DB)

where the floor is the lowest 20 ms mean of the last 1.5 s: speech dips that low within any 1.5 s, steady noise never
rises 10 dB over it. Before a call's first packet there was silence: an agent may speak in that very packet.

A window over the gate opens a *candidate*; it becomes an onset when 60 ms of windows over the gate have been gathered
with no hole of more than 40 ms. The onset is then the packet of the candidate's first window, looked back to: its
kernel receive time, not the time of the decision. A click, or a hole-ridden crackle, never becomes one.

Codecs let a short, loud sound ring on, 10 to 35 dB under it. So there is a peak that falls by half a dB a window:
windows 10 dB under it do not count towards the 60 ms. A syllable may fade like that, too, before a closure, as in
"I think"; but a burst of 40 ms and its ringing are over the gate for less than 80 ms, so what is for longer is speech.
A candidate of at most 15 ms of sound that is followed by 20 ms more than 20 dB under the peak was a click: it is
dropped, and its ringing opens none.

Comfort noise may begin between two answers. A candidate that never rises over -40 dBFS and moves by less than 6 dB is
no onset yet; when it goes on like that for 200 ms, it is the background, and what the floor is from then on.

Transform codecs smear an abrupt start up to 10 ms ahead of itself (pre-echo): leading windows of a candidate that are
18 dB and more under what follows within 10 ms are that smear, not speech, and are passed over.

A decoder that is out of step gives the first packets of speech out far too quietly. A packet that may be such a one is
held in doubt by the ear: when the packet behind the doubted ones opens a candidate with its first window, the onset is
the first doubted one.

Pure: windows and times in, times out (0 = nothing). RTP that runs during silence has no effect, neither has DTX; a lost
packet is neither voiced nor silent.
"""

from typing import Any

from harness.media.hot.jit import compiled

WINDOW_MS = 5
MINIMUM_GATE_DBFS = -50.0
GATE_OVER_FLOOR_DB = 10.0
SUSTAINED_MS = 60
WITH_RINGING_MS = 80
LONGEST_HOLE_MS = 40
FLOOR_HISTORY_MS = 1500
# Steady sound, faint enough, is the background once it has lasted this long.
BACKGROUND_MS = 200
SILENCE_DBFS = -96.0
PRE_ECHO_DB = 18.0
PRE_ECHO_WINDOWS = 2
PEAK_FALL_DB = 0.5
RINGING_DB = 10.0
CLICK_DB = 20.0
CLICK_MS = 15
CLICK_PAUSE_MS = 20
FAINT_DBFS = -40.0
STEADY_DB = 6.0
_FLOOR_WINDOWS = 4
_HISTORY = FLOOR_HISTORY_MS // WINDOW_MS
# As many of a candidate's first windows as the look for pre-echo can reach.
_FIRST = 2 * PRE_ECHO_WINDOWS

# The detector's part of a row; times are monotonic ns, levels dBFS.
FIELDS: list[tuple[Any, ...]] = [
    ("quiet_ns", "i8"),
    ("is_speaking", "i8"),
    ("last_voiced_at_ns", "i8"),
    # When the last onset was sure.
    ("decided_at_ns", "i8"),
    # Windows learnt so far, and the last four of them in a ring.
    ("learnt", "i8"),
    ("recent", "f8", (_FLOOR_WINDOWS,)),
    # The lowest mean of the history, and the serial number of its window.
    ("floor_dbfs", "f8"),
    ("floor_serial", "i8"),
    # It is the first of a queue of means that no later one undercuts, rising; those behind it are in a ring, behind
    # `floor_first`, each with its serial number. In silence it is the only one.
    ("floor_count", "i8"),
    ("floor_first", "i8"),
    ("floor_queue", "f8", (2 * _HISTORY,)),
    # Arrival of a packet that may be speech decoded too quietly, 0 = none, until the next packets tell.
    ("doubted_at_ns", "i8"),
    # The level it may have had.
    ("doubted_dbfs", "f8"),
    # The candidate: its windows over the gate, its first ones' levels and arrivals, its extremes.
    ("candidate", "i8"),
    ("first_levels", "f8", (_FIRST,)),
    ("first_at_ns", "i8", (_FIRST,)),
    ("lowest_dbfs", "f8"),
    ("highest_dbfs", "f8"),
    # The extremes of its 20 ms means.
    ("lowest_mean_dbfs", "f8"),
    ("highest_mean_dbfs", "f8"),
    ("voiced_ms", "i8"),
    ("hole_ms", "i8"),
    # How long it has been far under the peak.
    ("faint_ms", "i8"),
    ("peak_dbfs", "f8"),
]


@compiled
def onset_start(row: Any, quiet_ns: int) -> None:
    """Begin afresh, in silence; the agent has stopped once it was quiet for `quiet_ns`."""
    row.quiet_ns = quiet_ns
    row.learnt = _FLOOR_WINDOWS
    row.recent[:] = SILENCE_DBFS
    row.floor_first = 0
    row.floor_count = 1
    row.floor_dbfs = SILENCE_DBFS
    row.floor_serial = _FLOOR_WINDOWS
    onset_anew(row)


@compiled
def onset_anew(row: Any) -> None:
    """Forget speech, and what may have become some; the floor stays learnt."""
    row.is_speaking = 0
    row.last_voiced_at_ns = 0
    row.decided_at_ns = 0
    row.peak_dbfs = SILENCE_DBFS
    onset_forget(row)


@compiled
def gate_dbfs(row: Any) -> float:
    """Return the level that a window must exceed now."""
    if row.floor_count == 0:
        return MINIMUM_GATE_DBFS
    return max(MINIMUM_GATE_DBFS, row.floor_dbfs + GATE_OVER_FLOOR_DB)


@compiled
def onset_learn(row: Any, level: float) -> float:
    """Let one window's level count towards the floor and do nothing else; return the 20 ms mean."""
    serial = row.learnt
    row.recent[serial % _FLOOR_WINDOWS] = level
    serial += 1
    row.learnt = serial
    known = min(serial, _FLOOR_WINDOWS)
    total = 0.0
    for i in range(serial - known, serial):
        total += row.recent[i % _FLOOR_WINDOWS]
    mean = total / known
    _remember(row, mean, serial)
    return mean


@compiled
def _remember(row: Any, mean: float, serial: int) -> None:
    if row.floor_count > 0 and row.floor_serial <= serial - _HISTORY:
        _forget_lowest(row)
    count = row.floor_count
    if count == 0 or mean <= row.floor_dbfs:
        row.floor_dbfs = mean
        row.floor_serial = serial
        row.floor_count = 1
        return
    first, queue = row.floor_first, row.floor_queue
    while count > 1 and queue[2 * ((first + count - 1) % _HISTORY)] >= mean:
        count -= 1
    at = (first + count) % _HISTORY
    queue[2 * at] = mean
    queue[2 * at + 1] = serial
    row.floor_count = count + 1


@compiled
def _forget_lowest(row: Any) -> None:
    row.floor_count -= 1
    if row.floor_count == 0:
        return
    first = (row.floor_first + 1) % _HISTORY
    row.floor_first = first
    row.floor_dbfs = row.floor_queue[2 * first]
    row.floor_serial = int(row.floor_queue[2 * first + 1])


@compiled
def onset_pause(row: Any, duration_ms: int, level: float) -> None:
    """Take note of a pause in the agent's RTP timestamps (DTX): silence at `level`."""
    for _ in range(min(duration_ms, FLOOR_HISTORY_MS) // WINDOW_MS):
        onset_learn(row, level)
    if row.candidate and duration_ms > LONGEST_HOLE_MS:
        _drop_candidate(row)


@compiled
def onset_silence(row: Any, level: float, windows: int) -> None:
    """Take `windows` windows as silent at `level`, whatever the gate."""
    row.doubted_at_ns = 0
    for _ in range(windows):
        onset_learn(row, level)
        onset_hole(row)


@compiled
def onset_packet(row: Any, levels: Any, count: int, arrived_at_ns: int, first_at_ns: int, doubted_dbfs: float) -> int:
    """Take the first `count` of `levels` as one packet's windows; return the onset that they make sure of, 0 = none.

    `first_at_ns` dates a candidate that this packet opens: its arrival, but for a packet that follows lost ones.
    `doubted_dbfs` is the level of a packet that may have been decoded too quietly, SILENCE_DBFS where there is none.
    """
    doubted_at_ns = row.doubted_at_ns
    row.doubted_at_ns = 0
    if count > 0 and row.candidate == 0:
        gate = gate_dbfs(row)
        if doubted_at_ns != 0 and levels[0] > gate and not row.is_speaking:
            _note(row, levels[0], levels[0], doubted_at_ns)
            row.first_levels[0] = row.doubted_dbfs
        elif doubted_dbfs > SILENCE_DBFS and _highest(levels, count) <= gate:
            row.doubted_at_ns = doubted_at_ns
            if doubted_at_ns == 0:
                row.doubted_at_ns = first_at_ns
                row.doubted_dbfs = doubted_dbfs
    onset_at_ns = 0
    for i in range(count):
        window_at_ns = first_at_ns if row.candidate == 0 else arrived_at_ns
        onset_at_ns = max(onset_at_ns, _window(row, levels[i], window_at_ns, arrived_at_ns))
    return onset_at_ns


@compiled
def _highest(levels: Any, count: int) -> float:
    highest = levels[0]
    for i in range(1, count):
        highest = max(highest, levels[i])
    return highest


@compiled
def _window(row: Any, level: float, window_at_ns: int, arrived_at_ns: int) -> int:
    gate = gate_dbfs(row)
    mean = onset_learn(row, level)
    peak = max(level, row.peak_dbfs - PEAK_FALL_DB)
    row.peak_dbfs = peak
    if row.candidate > 0 and level <= peak - CLICK_DB:
        row.faint_ms += WINDOW_MS
        if row.voiced_ms <= CLICK_MS and row.faint_ms >= CLICK_PAUSE_MS:
            _drop_candidate(row)
    else:
        row.faint_ms = 0
    if level <= gate or (row.candidate == 0 and level <= peak - CLICK_DB):
        onset_hole(row)
        return 0
    if row.is_speaking:
        row.last_voiced_at_ns = arrived_at_ns
        return 0
    _note(row, level, mean, window_at_ns)
    row.hole_ms = 0
    if level > peak - RINGING_DB:
        row.voiced_ms += WINDOW_MS
    if not _is_sustained(row) or _is_background(row):
        return 0
    return _speak(row, arrived_at_ns)


@compiled
def onset_hole(row: Any) -> None:
    """Take one window as silent, whatever its level."""
    if row.candidate == 0:
        return
    row.hole_ms += WINDOW_MS
    if row.hole_ms > LONGEST_HOLE_MS:
        _drop_candidate(row)


@compiled
def onset_voiced(row: Any, window_at_ns: int, arrived_at_ns: int) -> int:
    """Take one window as voiced, whatever its level; return the onset that it makes sure of, 0 = none."""
    if row.is_speaking:
        row.last_voiced_at_ns = arrived_at_ns
        return 0
    _note(row, 0.0, 0.0, window_at_ns)
    row.hole_ms = 0
    row.voiced_ms += WINDOW_MS
    return _speak(row, arrived_at_ns) if _is_sustained(row) else 0


@compiled
def _is_sustained(row: Any) -> bool:
    """Tell whether a candidate has lasted, not counting what may be ringing, or for longer than a burst rings on."""
    return bool(row.voiced_ms >= SUSTAINED_MS or row.candidate * WINDOW_MS >= WITH_RINGING_MS)


@compiled
def _is_background(row: Any) -> bool:
    """Tell whether a candidate is, so far, steady noise that has just begun; speech varies."""
    if row.highest_mean_dbfs > FAINT_DBFS or row.highest_mean_dbfs - row.lowest_mean_dbfs > STEADY_DB:
        return False
    if row.voiced_ms >= BACKGROUND_MS:
        row.floor_count = 0
        _remember(row, row.lowest_mean_dbfs, row.learnt)
        _drop_candidate(row)
    return True


@compiled
def _speak(row: Any, arrived_at_ns: int) -> int:
    onset_at_ns = row.first_at_ns[_first_audible(row, _FIRST)]
    row.is_speaking = 1
    row.last_voiced_at_ns = arrived_at_ns
    row.decided_at_ns = arrived_at_ns
    _drop_candidate(row)
    return int(onset_at_ns)


@compiled
def _note(row: Any, level: float, mean: float, at_ns: int) -> None:
    if row.candidate == 0:
        row.lowest_dbfs = level
        row.highest_dbfs = level
    if row.candidate <= _FLOOR_WINDOWS:
        # Until here the mean holds windows from before the candidate.
        row.lowest_mean_dbfs = mean
        row.highest_mean_dbfs = mean
    row.lowest_dbfs = min(row.lowest_dbfs, level)
    row.highest_dbfs = max(row.highest_dbfs, level)
    row.lowest_mean_dbfs = min(row.lowest_mean_dbfs, mean)
    row.highest_mean_dbfs = max(row.highest_mean_dbfs, mean)
    if row.candidate < _FIRST:
        row.first_levels[row.candidate] = level
        row.first_at_ns[row.candidate] = at_ns
    row.candidate += 1


@compiled
def _first_audible(row: Any, known: int) -> int:
    """Return the place of the candidate's first window that is not pre-echo of those behind it, `known` in all."""
    levels = row.first_levels
    for i in range(PRE_ECHO_WINDOWS):
        loudest = SILENCE_DBFS
        for k in range(i + 1, min(i + 1 + PRE_ECHO_WINDOWS, known)):
            loudest = max(loudest, levels[k])
        if levels[i] >= loudest - PRE_ECHO_DB:
            return i
    return PRE_ECHO_WINDOWS


@compiled
def onset_gap(row: Any) -> None:
    """Take note of lost packets: what comes behind them tells nothing of pre-echo before them."""
    if 0 < row.candidate < _FIRST:
        row.first_at_ns[0] = row.first_at_ns[_first_audible(row, row.candidate)]
        row.first_levels[0] = 0.0


@compiled
def onset_poll(row: Any, now_ns: int) -> int:
    """Return when speech ended once the agent has been quiet for long enough, 0 = not (again)."""
    if not row.is_speaking or now_ns - row.last_voiced_at_ns < row.quiet_ns:
        return 0
    row.is_speaking = 0
    _drop_candidate(row)
    return row.last_voiced_at_ns


@compiled
def onset_forget(row: Any) -> None:
    """Drop what may have become an onset; the floor stays learnt."""
    row.doubted_at_ns = 0
    _drop_candidate(row)


@compiled
def _drop_candidate(row: Any) -> None:
    row.candidate = 0
    row.voiced_ms = 0
    row.hole_ms = 0
    row.faint_ms = 0
