"""Redis and PostgreSQL on loopback, each with a password, a free port and a data folder of its own, gone afterwards.

Both keep the durability that they have by default: what a peer's users get. It is printed with the peers' figures.
"""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.deployment import free_port
from benchmarks.peers.debian import program
from headrace.runtime.supervisor import ProcessSpec, Supervisor
from headrace.schemas.errors import DependencyUnavailable

HOST = "127.0.0.1"
REDIS_SETTINGS = "Redis: appendonly no, snapshots (the defaults)"
POSTGRES_SETTINGS = "PostgreSQL: fsync on, synchronous_commit on (the defaults)"
PROGRAMS = {
    "redis": ("redis-server", "redis-server", None),
    "postgres": ("postgres", "postgresql", "/usr/lib/postgresql/*/bin"),
}
"""By server: its program, Debian's package, and where that puts programs that are not on PATH."""
POSTGRES_USER = "postgres"
"""PostgreSQL refuses to run as root. Debian's package makes this user."""


def installed(server: str) -> Path:
    """Return a server's program, installed now where it is missing.

    Raises:
        DependencyUnavailable: it cannot be installed.
    """
    name, package, folders = PROGRAMS[server]
    return program(name, package, folders=folders)


@contextmanager
def redis(supervisor: Supervisor, process: str = "redis") -> Iterator[str]:
    """Run Redis for the time of a block; yield its URL.

    Args:
        supervisor: runs it.
        process: its name there.

    Raises:
        DependencyUnavailable: it cannot be installed or does not start.
    """
    server, port, password = installed("redis"), free_port(), secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="headrace-redis-") as name:
        config = Path(name) / "redis.conf"
        config.touch(mode=0o600)
        config.write_text(f"bind {HOST}\nport {port}\nrequirepass {password}\ndir {name}\n")
        supervisor.start(ProcessSpec(process, [str(server), str(config)], ready=lambda: _answers(port)))
        try:
            yield f"redis://:{password}@{HOST}:{port}/0"
        finally:
            supervisor.stop(process)


def _answers(port: int) -> bool:
    """Whether Redis answers anything, be it that a password is missing."""
    try:
        with socket.create_connection((HOST, port), 1.0) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64)[:1] in (b"-", b"+")
    except OSError:
        return False


@contextmanager
def postgres(supervisor: Supervisor, process: str = "postgres") -> Iterator[str]:
    """Run PostgreSQL for the time of a block; yield the URL of a database, which does not exist yet: DBOS makes it.

    Args:
        supervisor: runs it.
        process: its name there.

    Raises:
        DependencyUnavailable: it cannot be installed or does not start.
    """
    server, port, password = installed("postgres"), free_port(), secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="headrace-postgres-") as name:
        data = Path(name) / "data"
        as_user = _as_user(Path(name))
        _make(server.with_name("initdb"), data, as_user, password)
        options = ["-D", str(data), "-h", HOST, "-p", str(port), "-c", "unix_socket_directories="]
        ready = server.with_name("pg_isready")
        spec = ProcessSpec(process, [*as_user, str(server), *options], ready=lambda: _is_ready(ready, port))
        supervisor.start(spec)
        try:
            yield f"postgresql://bench:{password}@{HOST}:{port}/peers"
        finally:
            supervisor.stop(process)


def _as_user(folder: Path) -> list[str]:
    """Return what runs a command as the user that owns the folder: another one where we are root."""
    if os.geteuid() != 0:
        return []
    try:
        shutil.chown(folder, POSTGRES_USER)
    except LookupError:
        hint = "install Debian's package postgresql, or run the benchmark as a user other than root"
        raise DependencyUnavailable(f"there is no user {POSTGRES_USER}, and root may not run it", hint) from None
    # The kernel forgets the parent's death signal when the user changes: setpriv asks for it again.
    return ["setpriv", "--reuid", POSTGRES_USER, "--regid", POSTGRES_USER, "--init-groups", "--pdeathsig", "QUIT"]


def _make(initdb: Path, data: Path, as_user: list[str], password: str) -> None:
    secret = data.with_name("password")
    secret.touch(mode=0o600)
    secret.write_text(password + "\n")
    if as_user:
        shutil.chown(secret, POSTGRES_USER)
    command = [*as_user, str(initdb), "-D", str(data), "-U", "bench", "-A", "scram-sha-256", "--pwfile", str(secret)]
    ran = subprocess.run([*command, "--no-sync"], capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        said = "\n".join(ran.stderr.strip().splitlines()[-5:])
        raise DependencyUnavailable(f"initdb failed as {POSTGRES_USER if as_user else getpass.getuser()}:\n{said}")


def _is_ready(pg_isready: Path, port: int) -> bool:
    return subprocess.run([str(pg_isready), "-q", "-h", HOST, "-p", str(port)], check=False).returncode == 0
