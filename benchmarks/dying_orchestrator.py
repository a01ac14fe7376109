"""An orchestrator that, once told, ends or stops in the middle of its next transaction: records written, not committed.

SIGUSR1: it kills itself there, as kill -9 does. SIGUSR2: it stops itself there (SIGSTOP), and is a zombie when resumed.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from headrace.orchestrator.__main__ import main
from headrace.runtime.transaction import TransactionSession

_ACTS = {signal.SIGUSR1: signal.SIGKILL, signal.SIGUSR2: signal.SIGSTOP}
_armed: list[int] = []


def _arm(number: int, _frame: Any) -> None:
    _armed.append(_ACTS[signal.Signals(number)])


_send_offsets = TransactionSession._send_offsets


def _send_or_die(session: TransactionSession, *args: Any, **named: Any) -> None:
    while _armed:
        os.kill(os.getpid(), _armed.pop())
    _send_offsets(session, *args, **named)


if __name__ == "__main__":
    for each in _ACTS:
        signal.signal(each, _arm)
    TransactionSession._send_offsets = _send_or_die  # type: ignore[method-assign,assignment]
    sys.exit(main(sys.argv[1:]))
