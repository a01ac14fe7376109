"""Chaos on a real Kafka: real processes are killed, paused, restarted and scaled under load, then everything is judged.

``python -m tests.chaos --seconds 300 --seed S`` (`make chaos`). Its parts:

    plan.py        which faults, when, to whom: drawn from the seed before anything starts
    cluster.py     Kafka, the scripted provider, orchestrators and workers; processes.py restarts what ends
    faults.py      carries the plan out and notes what was done when
    jobs.py        what is submitted, and what must come of it; load.py submits it
    probes.py      a small job for each partition every second: by them stalls are measured
    evidence.py    what was seen, as plain data; collect.py gathers it from the topics and the provider's log
    judge.py       the verdict on it, with duplicates.py, money.py and stalls.py: pure, so that tests can lie to them
    record.py      a row for docs/reliability-record.md
"""
