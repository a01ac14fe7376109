"""The scripted provider: a Chat Completions server that fails on purpose, over real HTTP, for our tests and yours.

``python -m headrace.workers.adapters.faulty --port N --script FILE.yaml``. Its parts: `script` (what to do, pure),
`provider` (requests to replies, with the log and the counters), `server` (HTTP/1.1 on asyncio and h11).
"""
