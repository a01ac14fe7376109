"""What a job rests on and cannot be read: the task or the job fails for it, and its partition goes on. Pure."""

from __future__ import annotations

from headrace.schemas.errors import ErrorKind, HeadraceError


class PayloadLost(HeadraceError):
    """An object is gone, or is not what its reference says. What needs it fails: a task, or the job."""

    kind: ErrorKind = ErrorKind.PAYLOAD_LOST

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message}: {hint}" if hint else message, hint)


class InputBroken(HeadraceError):
    """The job's own input or items are not what its submission says: the job fails, not one task of many."""

    def __init__(self, message: str, *, kind: ErrorKind = ErrorKind.INVALID_INPUT) -> None:
        super().__init__(message)
        self.kind = kind


class ItemBroken(HeadraceError):
    """One item cannot be read: its task fails."""

    def __init__(self, message: str, *, kind: ErrorKind = ErrorKind.INVALID_INPUT) -> None:
        super().__init__(message)
        self.kind = kind
