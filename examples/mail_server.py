"""A small real mail server (RFC 5321), for examples and tests: it keeps what it takes, and fails where it is told."""

from __future__ import annotations

import base64
import socketserver
import ssl
import threading
import time
from email import message_from_bytes, policy
from email.message import EmailMessage
from io import BufferedIOBase
from typing import Self

SILENCE_S = 30.0


class MailServer:
    """Listens on this machine until it is stopped; it may be started again at the same port.

    Args:
        tls: where given, STARTTLS is offered.
        login: user and password that it asks for.
        port: 0 takes a free one.
    """

    def __init__(
        self, *, tls: ssl.SSLContext | None = None, login: tuple[str, str] | None = None, port: int = 0
    ) -> None:
        self.tls, self.login, self.port = tls, login, port
        self.letters: list[EmailMessage] = []
        """What was taken."""
        self.envelopes: list[tuple[str, list[str]]] = []
        """Senders and recipients of what was taken."""
        self.replies: dict[str, bytes] = {}
        """What to say in place of the usual reply, by the command; ``CONTENT`` stands for the end of a letter."""
        self.silent_at: set[str] = set()
        """Commands to which nothing is said."""
        self.drop_at: set[str] = set()
        """Commands at which the connection is closed. A letter whose CONTENT is dropped was taken all the same."""
        self.commands: list[str] = []
        self.connections = 0
        self._server: socketserver.ThreadingTCPServer | None = None

    def start(self) -> Self:
        mail = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                mail.connections += 1
                conversation = _Conversation(mail, self)
                try:
                    conversation.run()
                except (OSError, ValueError):
                    return
                finally:
                    conversation.sock.close()

        socketserver.ThreadingTCPServer.allow_reuse_address = True
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", self.port), Handler, bind_and_activate=True)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Dropped(OSError):
    pass


class _Conversation:
    def __init__(self, mail: MailServer, handler: socketserver.StreamRequestHandler) -> None:
        self.mail = mail
        self.reader: BufferedIOBase = handler.rfile
        self.sock = handler.connection
        self.sender = ""
        self.recipients: list[str] = []

    def run(self) -> None:
        self.say("CONNECT", b"220 mail.test ready")
        while line := self.reader.readline(8_192):
            text = line.decode("latin-1").strip()
            word = text.split(":")[0].split(" ")[0].upper()
            self.mail.commands.append(text)
            if word == "QUIT":
                self.say(word, b"221 bye")
                return
            getattr(self, f"on_{word.lower()}", self.on_unknown)(text)

    def say(self, command: str, usual: bytes) -> bool:
        """Reply; return whether it was the usual reply."""
        if command in self.mail.drop_at:
            raise _Dropped
        if command in self.mail.silent_at:
            time.sleep(SILENCE_S)
        self.sock.sendall(self.mail.replies.get(command, usual) + b"\r\n")
        return command not in self.mail.replies

    def on_ehlo(self, _: str) -> None:
        offers = [b"mail.test", b"8BITMIME"]
        if self.mail.tls is not None and not isinstance(self.sock, ssl.SSLSocket):
            offers.append(b"STARTTLS")
        if self.mail.login is not None:
            offers.append(b"AUTH PLAIN")
        lines = [b"250-" + offer for offer in offers[:-1]] + [b"250 " + offers[-1]]
        self.say("EHLO", b"\r\n".join(lines))

    def on_starttls(self, _: str) -> None:
        assert self.mail.tls is not None
        self.say("STARTTLS", b"220 go on")
        secured = self.mail.tls.wrap_socket(self.sock, server_side=True, do_handshake_on_connect=False)
        self.sock = secured
        secured.do_handshake()
        self.reader = secured.makefile("rb")

    def on_auth(self, text: str) -> None:
        _, user, password = base64.b64decode(text.split(" ")[2]).decode().split("\0")
        right = (user, password) == self.mail.login
        self.say("AUTH", b"235 welcome" if right else b"535 no")

    def on_mail(self, text: str) -> None:
        self.sender, self.recipients = text.partition("<")[2].partition(">")[0], []
        self.say("MAIL", b"250 fine")

    def on_rcpt(self, text: str) -> None:
        one = text.partition("<")[2].partition(">")[0]
        if self.say(f"RCPT {one}" if f"RCPT {one}" in self.mail.replies else "RCPT", b"250 fine"):
            self.recipients.append(one)

    def on_data(self, _: str) -> None:
        if not self.say("DATA", b"354 go on"):
            return
        lines = []
        while (line := self.reader.readline()) != b".\r\n":
            if not line:
                raise _Dropped
            lines.append(line[1:] if line.startswith(b".") else line)
        if "CONTENT" not in self.mail.replies:
            self.mail.letters.append(message_from_bytes(b"".join(lines), policy=policy.default))
            self.mail.envelopes.append((self.sender, self.recipients))
        self.say("CONTENT", b"250 taken")

    def on_rset(self, _: str) -> None:
        self.say("RSET", b"250 fine")

    def on_unknown(self, _: str) -> None:
        self.say("UNKNOWN", b"502 not known")
