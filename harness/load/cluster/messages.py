"""What master and workers say to each other: the data of one Locust message, `NAME`, told apart by its key "t".

To the master                                            To a worker
  hello    protocol, version, host, process, clock         welcome  scenario, file, url, seed, calls, corpus,
           (repeated until answered)                                run_dir, process, clock
  fit      plan: fingerprint of the first calls            refused  why: it has no place in this run, or in any
  unfit    why: no corpus, another plan ...                pong     asked_ns, answered_ns: the master's clock
  ping     asked_ns; also keeps either side sure           begin    run, run_id, run_dir, name, index, count, url
           that the other lives                            go       run, start_ns: the master's clock
  batch    run, first, rows: records by number             ack      run, next: the number awaited
                                                          fault    run, fault: put it on the calls
                                                          end_fault run, name
  report   run, state, status, notes, n_rows,      no_more  run: place no more calls, let the others end
           started_ns, error_ms, drift_ms, run_dir         end      run, status, why: end every call

`run` counts the runs of a master (its web UI may start many), so that no word of an ended run touches the next.
A worker's states, in this order: starting, ready (its engine is up), running, over (nothing left to do), done (its
engine has gone, and no further record will come).
"""

from enum import StrEnum

NAME = "callquake"
PROTOCOL_VERSION = 1
# Either side takes the other for gone when it has heard nothing for this long.
SILENCE_LIMIT_S = 15.0
PING_INTERVAL_S = 1.0


class State(StrEnum):
    """How far a worker has come in a run."""

    STARTING = "starting"
    READY = "ready"
    RUNNING = "running"
    OVER = "over"
    DONE = "done"
