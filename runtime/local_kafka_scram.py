"""The SASL/SCRAM user of a local broker, made through the admin API: its password is on no command line or file."""

from __future__ import annotations

from dataclasses import dataclass

from confluent_kafka.admin import (
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from pydantic import SecretStr

from headrace.runtime.kafka_ready import probe, wait_until_ready

_ITERATIONS = 4096
"""The least that Kafka takes; the password is a test's."""


@dataclass(frozen=True, slots=True)
class ScramUser:
    """A user of the SASL listener."""

    name: str
    password: SecretStr


def client_options(user: ScramUser) -> dict[str, str]:
    """Return librdkafka's options for a client that is this user."""
    return {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": user.name,
        "sasl.password": user.password.get_secret_value(),
    }


def add_user(user: ScramUser, bootstrap_servers: str, sasl_bootstrap_servers: str) -> None:
    """Create the user and return once it can log in.

    Args:
        user: name and password.
        bootstrap_servers: the listener without SASL, through which the user is made.
        sasl_bootstrap_servers: the listener on which it must be able to log in.
    """
    credential = UserScramCredentialUpsertion(
        user.name,
        ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, _ITERATIONS),
        user.password.get_secret_value().encode(),
    )
    admin = probe(bootstrap_servers)  # Held until its futures are done: a client that is let go fails them.
    for made in admin.alter_user_scram_credentials([credential]).values():
        made.result(timeout=10)
    wait_until_ready(sasl_bootstrap_servers, timeout_s=10, options=client_options(user))
