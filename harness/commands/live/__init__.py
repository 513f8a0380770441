"""What the process beside a run does while it goes: alerts, a webhook, the target's own metrics."""
