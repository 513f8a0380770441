"""Faults: what can be broken on purpose, how it is undone, and what proves that it was done.

model/fault.py        a fault as it is asked for, and its lines in faults.jsonl
parameter.py kind.py  what a kind takes, is, and promises
families/             the kinds, a file a family; catalogue.py lists them all
check.py              YAML, JSON or words of a command line to a checked Fault
effect.py             what carries a fault out: start, evidence, renew, stop
injection.py          one fault from start to end, with its journal entry before and its revert after
journal.py owner.py   what is to be undone should we be killed, on disk before anything is done
reverts.py            how each thing is undone; any of them may be done twice
program.py undone.py  a program run to its end; what the agent says of a fault that it is to end
experiment*.py        the Chaos Toolkit's experiments to faults (hooks, rollbacks, Toxiproxy) and back
schedule.py           which fault is due when
"""
