"""The object store: where payloads lie that are too large to travel inline.

Keys are content addresses, ``sha256/<hex>``: writing twice is writing once, and a reader proves what it read. All of a
deployment lies below one root, ``<objects.url>/<topics.prefix>/``, so that deployments may share a bucket and none
sweeps what another still needs. obstore (extra ``objects``) speaks S3, GCS, Azure and local folders; it is imported
only when a store is opened.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit

from headrace.runtime.settings import Settings
from headrace.schemas.errors import ConfigError, ContractError, DependencyUnavailable, HeadraceError
from headrace.schemas.messages import ObjectRef
from headrace.schemas.object_keys import MAX_OBJECT_BYTES, OWN_FOLDER, check_object_ref, claim_check

T = TypeVar("T")

LOOK_FIRST_BYTES = 65_536
"""Above this a write looks first whether the content is there: cheaper than sending it. Below, it is just sent."""
CLIENT_OPTIONS = {"timeout": "30s", "connect_timeout": "5s"}
RETRIES = 2
"""The client's own retries of one request. Its defaults, ten within three minutes, would hide an outage."""
RETRY_TIMEOUT = timedelta(seconds=20)
_DENIALS = ("PermissionDeniedError", "UnauthenticatedError")
_NO_FILE = re.compile(r"\(os error (?:20|36|40)\)")
"""A key below a file, of too long a name, or that goes in circles: Linux's ENOTDIR, ENAMETOOLONG, ELOOP."""
_PROBE = b"headrace looks whether the object store answers"


@dataclass(frozen=True, slots=True)
class Stored:
    """An object that lies in the store."""

    key: str
    """Below the deployment's root."""
    size_bytes: int
    """Its size."""
    modified_at: datetime
    """When it was last written."""


class ObjectStore:
    """Puts and gets payloads. Every call blocks: from asyncio they go through ``asyncio.to_thread``.

    Args:
        store: an obstore store, its root that of the deployment.
        place: its URL or folder, for messages; never with credentials.
        refresh_s: content older than this is written again when it is put, so that the sweep leaves it alone.
    """

    def __init__(self, store: Any, place: str, *, refresh_s: float = 43_200.0) -> None:
        self._store = store
        self._is_folder = type(store).__name__ == "LocalStore"
        self.refresh_s = refresh_s
        self.place = place

    # ── Content ──────────────────────────────────────────────────────────────────────────────────────────────────

    def put(self, content: bytes) -> ObjectRef:
        """Store the content and return its claim check.

        Raises:
            DependencyUnavailable: the store does not answer or refuses.
            ContractError: it is larger than any reader would read.
        """
        return self.ensure(content)[0]

    def ensure(self, content: bytes, *, look_above: int = LOOK_FIRST_BYTES) -> tuple[ObjectRef, bool]:
        """Store the content as `put` does; return its claim check, and whether it had to be sent.

        Args:
            look_above: content larger than this is looked for before it is sent.
        """
        ref = check_object_ref(claim_check(content))
        if len(content) > look_above and self.has(ref):
            return ref, False
        self._write(ref.key, content)
        return ref, True

    def has(self, ref: ObjectRef) -> bool:
        """Return whether content is there in its size, and young enough to be relied on without writing it again.

        Raises:
            DependencyUnavailable: the store does not answer.
        """
        found = self.head(ref.key)
        if found is None or found.size_bytes != ref.size_bytes:
            return False
        return datetime.now(UTC) - found.modified_at < timedelta(seconds=self.refresh_s)

    def get(self, ref: ObjectRef, *, at_most: int = MAX_OBJECT_BYTES) -> bytes:
        """Return the content behind a claim check.

        Raises:
            DependencyUnavailable: the store does not answer.
            ContractError: the reference may not be followed, the object is gone (``gone``), or it is not what the
                reference says (``checksum``).
        """
        check_object_ref(ref, at_most=at_most)
        try:
            content = self._read(ref)
        except _Denied:
            # S3 says so of what is not there, where the right to list is missing.
            self.probe()
            raise self._gone(ref) from None
        except FileNotFoundError:
            raise self._gone(ref) from None
        if content is None or sha256(content).hexdigest() != ref.sha256:
            raise ContractError(
                f"object {ref.key} in {self.place} is not what its reference says",
                "it was changed or cut short: write it again, and submit again",
                kind="checksum",
            )
        return content

    def _read(self, ref: ObjectRef) -> bytes | None:
        """Return an object's content, or None where it has not the size that it should have."""
        import obstore

        def read() -> bytes | None:
            found = obstore.get(self._store, ref.key)
            # The size is checked before the body is read: a reference must not fill the memory.
            return bytes(found.bytes()) if found.meta["size"] == ref.size_bytes else None

        return self._reach("read", ref.key, read)

    def _gone(self, ref: ObjectRef) -> ContractError:
        return ContractError(
            f"object {ref.key} is not in {self.place}",
            "was it swept, or written to another store? objects.url and topics.prefix must be the same everywhere",
            kind="gone",
        )

    def probe(self) -> None:
        """Write and read a small object: tells a store that is down from one object that cannot be read.

        Raises:
            DependencyUnavailable: the store does not answer or refuses.
        """
        try:
            content = self._read(self.put(_PROBE))
        except FileNotFoundError:
            content = None
        if content != _PROBE:
            raise DependencyUnavailable(f"object store {self.place} loses what is written")

    # ── Objects ──────────────────────────────────────────────────────────────────────────────────────────────────

    def head(self, key: str) -> Stored | None:
        """Return what lies under a key, or None.

        Raises:
            DependencyUnavailable: the store does not answer.
        """
        import obstore

        try:
            return _stored(self._reach("look at", key, lambda: obstore.head(self._store, key)))
        except FileNotFoundError:
            return None

    def note(self, key: str, text: bytes) -> None:
        """Write a note of Headrace itself under a name: no payload, and never swept.

        Raises:
            DependencyUnavailable: the store does not answer.
        """
        self._write(key, text)

    def list_own(self) -> Iterator[Stored]:
        """Yield everything in the folder of Headrace's own keys, foreign names included, in no order.

        Raises:
            DependencyUnavailable: the store does not answer.
        """
        import obstore

        pages = iter(obstore.list(self._store, prefix=OWN_FOLDER, chunk_size=1_000))
        while (page := self._reach("list", OWN_FOLDER, lambda: next(pages, None))) is not None:
            yield from map(_stored, page)

    def delete(self, keys: list[str]) -> None:
        """Delete objects; one that is not there is no error.

        Raises:
            DependencyUnavailable: the store does not answer.
        """
        import obstore

        for key in keys if self._is_folder else ():
            # A folder's client stops at the first that is not there.
            with suppress(FileNotFoundError):
                self._reach("delete", key, lambda key=key: obstore.delete(self._store, key))  # type: ignore[misc]
        if keys and not self._is_folder:
            self._reach("delete", keys[0], lambda: obstore.delete(self._store, keys))

    def _write(self, key: str, content: bytes) -> None:
        """Write over what may be there: the same content under its own address, made young again."""
        import obstore

        self._reach("write", key, lambda: obstore.put(self._store, key, content))

    def _reach(self, verb: str, key: str, act: Callable[[], T]) -> T:
        try:
            return act()
        except (FileNotFoundError, HeadraceError):
            raise
        except Exception as error:  # obstore raises many kinds, OSErrors among them; all mean "no store".
            if self._is_folder and _NO_FILE.search(str(error)):
                raise FileNotFoundError(key) from None
            kind = _Denied if type(error).__name__ in _DENIALS else DependencyUnavailable
            raise kind(
                f"object store {self.place} cannot {verb} {key}: {_say(error)}",
                "check objects.url, its credentials and its network",
            ) from error


class _Denied(DependencyUnavailable):
    """The store answers and refuses."""


def _say(error: Exception) -> str:
    """Return what the client said, without the times in it: the same trouble is the same text, and logged once."""
    line = str(error).strip().partition("\n")[0]
    _, found, cause = line.rpartition(" - ")
    if not found:
        cause = line.partition(" error: ")[2]
    cause = re.sub(r"//[^/@]*@", "//", cause)[:200].rstrip(": ")
    return f"{type(error).__name__}: {cause}" if cause else type(error).__name__


def _stored(meta: Any) -> Stored:
    return Stored(meta["path"], meta["size"], meta["last_modified"])


def refresh_after_s(retention_s: float) -> float:
    """Return how old content may be that is put again and not written again, in seconds.

    A process that wrote or saw it may go on for as long again without asking: so a message refers to content of at most
    twice this age, which `object_retention` takes off what is kept.
    """
    return min(43_200.0, retention_s / 16)


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
    url, refresh_s = settings.objects.url, refresh_after_s(settings.objects.retention_s)
    try:
        if not url or url.startswith("file:"):
            folder = _folder(settings) / settings.topics.prefix
            folder.mkdir(parents=True, exist_ok=True)
            return ObjectStore(LocalStore(str(folder)), str(folder), refresh_s=refresh_s)
        rooted = _rooted(url, settings.topics.prefix)
        options: Any = {**CLIENT_OPTIONS, **settings.objects.client_options}
        store = from_url(
            rooted,
            client_options=options,
            retry_config={"max_retries": RETRIES, "retry_timeout": RETRY_TIMEOUT},
        )
        return ObjectStore(store, _without_credentials(rooted), refresh_s=refresh_s)
    except Exception as error:
        place = _without_credentials(url) or str(settings.data_path)
        raise ConfigError(
            f"object store {place} cannot be opened: {type(error).__name__}",
            "correct objects.url and objects.client_options",
        ) from None


def _folder(settings: Settings) -> Path:
    url = settings.objects.url
    return Path(unquote(urlsplit(url).path)) if url else settings.data_path / "objects"


def _rooted(url: str, prefix: str) -> str:
    """Return the URL of a deployment's root: its prefix below the path, so that a bucket can be shared."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{prefix}"))


def _without_credentials(url: str) -> str:
    scheme, found, rest = url.partition("://")
    if not found:
        return url
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path.partition('?')[0]}"
