"""The bundled agent broken on purpose: what its admin API can do to the stages and the process.

    fault.py      a fault at work: its draw, its counts; what every kind offers
    parameters.py a kind's parameters, read and checked
    stage_kinds.py delay, stall, error, empty, slow, rate limit: what a request of a stage meets
    worker_kinds.py, resource_kinds.py  a process killed, a model loaded anew, a stage kept busy; memory, context
    surrounding_kinds.py  clock, disk, database, certificate (expired.py), GPU
    stretched.py  a reply whose every piece comes later
    passage.py    one request on its way through the faults of its stage
    stages.py     the stages, each behind its faults
    chaos.py      which faults are in force: begin, renew, lapse, end
    admin.py      the HTTP routes

No fault outlives its lease: whoever injects it renews it, and when that one is gone it reverts by itself.
"""
