"""Scripted steps: each decides as it goes which calls it makes. Pure.

A script is a sequence of stages. A stage is a few calls side by side, each a task of its own with all that tasks have
(retries, budget, cancel, loss, redrive while its stage is open). When the tasks of a stage have ended, the module of
the kind says what follows from their answers: another stage, or the step's end. That is all that a kind has to say:
which call a task is, how many tasks there are, and what the step comes to are found by walking the stages again over
the tasks' records (`walk`), so there is no state beside the records, and a replay decides alike.
"""
