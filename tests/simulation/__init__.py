"""A deterministic world in one thread: the real shells and cores on a simulated Kafka, with faults from a seed.

``python -m tests.simulation --seed S [--jobs N] [--trace]`` runs one world; ``--seeds A..B --processes P`` many.

How to read it: `world` is the scheduler and the clock; `log`, `transactions`, `groups` are the broker; `consumer`,
`membership`, `producer`, `admin` are librdkafka; `deployment` starts the real processes on them, through the seams of
`seams`; `faults` and `workload` decide by seed what happens to them; `judges` look at what is left, and know nothing of
what was meant to happen. Why greenlets: docs/adr/0015-simulation-on-greenlets.md.
"""
