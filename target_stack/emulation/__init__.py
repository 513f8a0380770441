"""Model stages without models: measured service times before real queues, for thousands of calls on a small machine.

    service_times   the file that says how long each stage takes; guide.yaml is the shipped one
    stage_time      work and company to milliseconds
    admission       who may be written a reply at once: slots, KV cache
    conditions      whether a stage's model is loaded, and who waited for it
    lines, writer   finite servers on an event loop: replicas and batches; continuous batching
    stages          the three stages in the pipeline's shapes
    pool_*          one set of servers shared by several processes
    measuring, fit  how long the real stages take on this machine

The core is pure (seeded, stage_time, admission, fit): time and draws are arguments.
"""
