"""The object store: where payloads lie that are too large to travel inline.

Keys are content addresses, ``sha256/<hex>``: writing twice is writing once, and a reader proves what it read.
obstore (extra ``objects``) speaks S3, GCS, Azure and local folders; it is imported only when a store is opened.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from typing import Any, TypeVar

from headrace.runtime.settings import Settings
from headrace.schemas.errors import ConfigError, ContractError, DependencyUnavailable
from headrace.schemas.messages import ObjectRef

T = TypeVar("T")


class ObjectStore:
    """Puts and gets payloads. Both calls block: from asyncio they go through ``asyncio.to_thread``.

    Args:
        store: an obstore store.
        place: its URL or folder, for messages; never with credentials.
    """

    def __init__(self, store: Any, place: str) -> None:
        self._store = store
        self.place = place

    def put(self, content: bytes) -> ObjectRef:
        """Store the content and return its claim check.

        Raises:
            DependencyUnavailable: the store does not answer or refuses.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError

        digest = sha256(content).hexdigest()
        ref = ObjectRef(key=f"sha256/{digest}", size_bytes=len(content), sha256=digest)

        def write() -> None:
            with suppress(AlreadyExistsError):  # The same content under its own address.
                obstore.put(self._store, ref.key, content, mode="create")

        self._reach("write", ref.key, write)
        return ref

    def get(self, ref: ObjectRef) -> bytes:
        """Return the content behind a claim check.

        Raises:
            DependencyUnavailable: the store does not answer.
            ContractError: the object is gone, or is not what the reference says.
        """
        import obstore

        def read() -> bytes | None:
            try:
                found = obstore.get(self._store, ref.key)
                # The size is checked before the body is read: a reference must not fill the memory.
                return bytes(found.bytes()) if found.meta["size"] == ref.size_bytes else None
            except FileNotFoundError:
                raise ContractError(
                    f"object {ref.key} is not in {self.place}", "was it expired?", kind="gone"
                ) from None

        content = self._reach("read", ref.key, read)
        if content is None or sha256(content).hexdigest() != ref.sha256:
            raise ContractError(f"object {ref.key} in {self.place} is not what was stored", kind="checksum")
        return content

    def _reach(self, verb: str, key: str, act: Callable[[], T]) -> T:
        try:
            return act()
        except ContractError:
            raise
        except Exception as error:  # obstore raises many kinds, OSErrors among them; all mean "no store".
            raise DependencyUnavailable(
                f"object store {self.place} cannot {verb} {key}: {type(error).__name__}",
                "check objects.url and its credentials",
            ) from error


def open_objects(settings: Settings) -> ObjectStore:
    """Open the store that the settings name; without a URL it is the folder ``objects`` in the data folder.

    Raises:
        ConfigError: the extra ``objects`` is not installed, or the URL cannot be used.
    """
    try:
        from obstore.store import LocalStore, from_url
    except ImportError:
        raise ConfigError(
            "payloads above objects.inline_bytes need the extra 'objects'", "pip install 'headrace[objects]'"
        ) from None
    url = settings.objects.url
    try:
        if url:
            return ObjectStore(from_url(url), _without_credentials(url))
        folder = settings.data_path / "objects"
        folder.mkdir(parents=True, exist_ok=True)
        return ObjectStore(LocalStore(str(folder)), str(folder))
    except Exception as error:
        place = _without_credentials(url) or str(settings.data_path)
        raise ConfigError(
            f"object store {place} cannot be opened: {type(error).__name__}", "correct objects.url"
        ) from None


def _without_credentials(url: str) -> str:
    scheme, found, rest = url.partition("://")
    if not found:
        return url
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path.partition('?')[0]}"
