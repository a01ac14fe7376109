"""One e-mail over SMTP: over the first provider that takes it, and over none once another may have taken it.

Until the content is sent nothing is delivered, so any failure before it leads to the next provider. From its first byte
on only the server's answer tells; where that is missing, the letter's fate is unknown, and no other provider gets it.
"""

from __future__ import annotations

import asyncio
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from email.utils import parseaddr
from functools import cache
from typing import Any, NamedTuple, cast

from headrace.schemas.errors import AdapterError, ConfigError, ErrorKind
from headrace.schemas.tools import EmailProvider
from headrace.schemas.tools import EmailTool as EmailSpec
from headrace.workers.core.letters import Letter, is_address, letter_of
from headrace.workers.tools.base import ToolAnswer, ToolConfig
from headrace.workers.tools.providers import Failover, Provider
from headrace.workers.tools.threads import Threads

CONNECT_S = 10.0
USUAL_PORTS = (25, 465, 587)
MAX_LINE, MAX_LINES = 4_096, 100
"""Of one reply: a server that goes on for ever must not fill the memory."""


class EmailTool:
    """A tool of the kind `email`."""

    def __init__(self, config: ToolConfig) -> None:
        spec = self._spec = cast(EmailSpec, config.spec)
        if not is_address(parseaddr(spec.sender)[1]):
            raise ConfigError(f"tool {config.name!r}: sender {spec.sender!r} is no address")
        threads = Threads(f"tool-{config.name}", most=2 * config.concurrency)
        self._failover = Failover(
            [_Server(one, config, threads).provider for one in spec.providers],
            spec.breaker,
            tool=config.name,
            pool=config.pool,
            side_effect=spec.side_effect,
        )

    async def start(self) -> None:
        """Nothing is to be made ready."""

    async def call(self, arguments: dict[str, Any], *, timeout_s: float, idempotency_key: str) -> ToolAnswer:
        spec = self._spec
        letter = letter_of(
            arguments,
            sender=spec.sender,
            allowed=spec.recipients,
            key=idempotency_key,
            at_ms=time.time_ns() // 1_000_000,
        )
        return await self._failover.call(letter, timeout_s=timeout_s)

    async def close(self) -> None:
        """No connection is kept."""


class _Login(NamedTuple):
    user: str
    password: str


class _Server:
    """One of the tool's mail servers."""

    def __init__(self, spec: EmailProvider, config: ToolConfig, threads: Threads) -> None:
        self._spec = spec
        self._threads = threads
        self._login: _Login | None = None
        if spec.user_env and spec.password_env:
            secret = config.secret
            self._login = _Login(secret(spec.user_env).get_secret_value(), secret(spec.password_env).get_secret_value())
        usual = spec.port in USUAL_PORTS
        self.name = spec.name or (spec.host if usual else f"{spec.host}:{spec.port}")
        self.provider = Provider(self.name, self._ask)

    async def _ask(self, letter: Letter, timeout_s: float) -> dict[str, Any]:
        session = _Session(self._spec, self._login, timeout_s)
        try:
            async with asyncio.timeout(timeout_s):
                await self._threads.run(lambda: session.send(letter), abort=session.abort)
        except TimeoutError:
            message = f"{self.name} did not take the letter within {timeout_s:.3g} s"
            raise AdapterError(ErrorKind.TIMEOUT, message, unconfirmed=session.content_sent) from None
        return {"message_id": letter.message_id, "provider": self.name}


class _Session:
    """One connection, in a thread; `abort` and `content_sent` are for the event loop."""

    def __init__(self, spec: EmailProvider, login: _Login | None, timeout_s: float) -> None:
        self._spec = spec
        self._login = login
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._aborted = False
        self._smtp: smtplib.SMTP | None = None
        self.content_sent = False
        """Whether any of the letter may have been sent."""

    def abort(self) -> None:
        """Let the thread end soon; nothing of the letter is sent after this."""
        with self._lock:
            self._aborted = True
            sock = None if self._smtp is None else self._smtp.sock
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    def send(self, letter: Letter) -> None:
        """Connect, log in, and hand the letter over.

        Raises:
            AdapterError: what went wrong, and whether the letter may have been taken.
        """
        try:
            smtp = self._connected()
            try:
                self._hand_over(smtp, letter)
                self._bid_farewell(smtp)
            finally:
                smtp.close()
        except smtplib.SMTPServerDisconnected as error:
            raise self._failed(ErrorKind.NETWORK, error) from None
        except smtplib.SMTPNotSupportedError as error:
            raise self._failed(ErrorKind.AUTH, error) from None
        except smtplib.SMTPResponseException as error:
            raise self._refused(
                "connecting", error.smtp_code, _said(error.smtp_error), ErrorKind.SERVER_ERROR
            ) from None
        except ssl.SSLError as error:
            raise self._failed(ErrorKind.NETWORK, error) from None
        except TimeoutError as error:
            raise self._failed(ErrorKind.TIMEOUT if self.content_sent else ErrorKind.NETWORK, error) from None
        except (OSError, smtplib.SMTPException) as error:
            raise self._failed(ErrorKind.NETWORK, error) from None

    def _connected(self) -> smtplib.SMTP:
        spec, connect_s = self._spec, min(CONNECT_S, self._timeout_s)
        smtp: _Smtp | _SecureSmtp
        if spec.security == "tls":
            smtp = _SecureSmtp(local_hostname=_me(), timeout=connect_s, context=ssl.create_default_context())
        else:
            smtp = _Smtp(local_hostname=_me(), timeout=connect_s)
        with self._lock:
            self._smtp = smtp
        smtp._host = spec.host  # What TLS holds the certificate to, which `connect` alone does not note.
        code, said = smtp.connect(spec.host, spec.port)
        if code != 220:
            smtp.close()
            raise smtplib.SMTPConnectError(code, said)
        try:
            smtp.ehlo_or_helo_if_needed()
            if spec.security == "starttls":
                smtp.starttls(context=ssl.create_default_context())
                smtp.ehlo_or_helo_if_needed()
            if self._login is not None:
                self._log_in(smtp, self._login)
        except BaseException:
            smtp.close()
            raise
        return smtp

    def _log_in(self, smtp: smtplib.SMTP, login: _Login) -> None:
        try:
            smtp.login(login.user, login.password)
        except smtplib.SMTPAuthenticationError as error:
            kind = ErrorKind.AUTH if error.smtp_code >= 500 else ErrorKind.OVERLOADED
            raise AdapterError(kind, f"the login was refused: {error.smtp_code}") from None

    def _hand_over(self, smtp: smtplib.SMTP, letter: Letter) -> None:
        assert smtp.sock is not None
        smtp.sock.settimeout(self._timeout_s)
        self._expect(250, ErrorKind.AUTH, "the sender", lambda: smtp.mail(letter.sender))
        for one in letter.recipients:
            self._expect(250, ErrorKind.BAD_REQUEST, f"recipient {one}", lambda one=one: smtp.rcpt(one))  # type: ignore[misc]
        self._expect(354, ErrorKind.BAD_REQUEST, "the letter", lambda: smtp.docmd("DATA"))
        with self._lock:
            if self._aborted:
                raise AdapterError(ErrorKind.CANCELLED, "given up before the letter was sent")
            self.content_sent = True
        smtp.send(letter.content + b".\r\n")
        code, said = smtp.getreply()
        if 400 <= code < 600:
            self.content_sent = False  # The server has said that it did not take the letter.
        if code != 250:
            raise self._refused("the letter", code, _said(said), ErrorKind.BAD_REQUEST)

    def _expect(self, code: int, refused: ErrorKind, what: str, ask: Callable[[], tuple[int, bytes]]) -> None:
        found, said = ask()
        if found != code and not (code == 250 and found == 251):
            if what.startswith("recipient") and 400 <= found < 500 and found != 421:
                # A full or grey-listed mailbox: this server's whole trade is not in question.
                raise AdapterError(ErrorKind.RATE_LIMITED, f"{what} was put off: {found} {_said(said)}")
            raise self._refused(what, found, _said(said), refused)

    def _refused(self, what: str, code: int, said: str, kind: ErrorKind) -> AdapterError:
        """Return what a reply means: 4xx is for now, 5xx for ever, and another one is no reply to this."""
        if not 500 <= code < 600:
            kind = ErrorKind.OVERLOADED if 400 <= code < 500 else ErrorKind.SERVER_ERROR
        return AdapterError(kind, f"{what} was refused: {code} {said}", unconfirmed=self.content_sent)

    def _failed(self, kind: ErrorKind, error: Exception) -> AdapterError:
        said = " ".join(str(error).split())[:200] or type(error).__name__
        return AdapterError(kind, f"{self._spec.host}: {said}", unconfirmed=self.content_sent)

    @staticmethod
    def _bid_farewell(smtp: smtplib.SMTP) -> None:
        try:
            assert smtp.sock is not None
            smtp.sock.settimeout(1.0)
            smtp.quit()
        except (OSError, smtplib.SMTPException):
            return  # The letter was taken.


class _BoundedReplies:
    """Reads replies as `smtplib` does, up to a bound."""

    _host: str
    sock: socket.socket | None
    file: Any
    close: Callable[[], None]

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None:
            assert self.sock is not None
            self.file = self.sock.makefile("rb")
        lines: list[bytes] = []
        while len(lines) < MAX_LINES:
            try:
                line = self.file.readline(MAX_LINE)
            except TimeoutError:
                self.close()
                raise
            except OSError as error:
                self.close()
                raise smtplib.SMTPServerDisconnected(f"the connection broke: {error}") from None
            if not line.endswith(b"\n"):
                self.close()
                raise smtplib.SMTPServerDisconnected("the connection was closed" if not line else "a line is too long")
            lines.append(line[4:].strip())
            if line[3:4] != b"-":
                code = int(line[:3]) if line[:3].isdigit() else -1
                return code, b"\n".join(lines)
        self.close()
        raise smtplib.SMTPServerDisconnected("a reply without end")


class _Smtp(_BoundedReplies, smtplib.SMTP):
    pass


class _SecureSmtp(_BoundedReplies, smtplib.SMTP_SSL):
    pass


@cache
def _me() -> str:
    """Return what this machine calls itself. The standard library would ask the name servers each time."""
    name = socket.gethostname()
    return name if "." in name and name.isascii() else "[127.0.0.1]"


def _said(reply: bytes | str) -> str:
    text = reply.decode(errors="replace") if isinstance(reply, bytes) else reply
    return " ".join(text.split())[:200]
