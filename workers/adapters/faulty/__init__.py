"""The scripted provider: Chat Completions and embeddings that fail on purpose, over real HTTP, for our tests and yours.

``python -m headrace.workers.adapters.faulty --port N --script FILE.yaml``. ``--recorded FILE`` answers with what
real models said. Its parts: `script` (what to do, pure), `recorded` (answers by model and prompt), `replies` (their
bytes), `provider` (requests to replies, with the log and the counters), `server` (HTTP/1.1 on asyncio and h11).
"""
