"""The tool `email` against real mail servers on this machine."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
from pydantic import ValidationError

from headrace.examples.mail_server import MailServer
from headrace.schemas.errors import AdapterError, ConfigError, ErrorKind
from headrace.workers.core.letters import message_id_of
from tests.tls import certificate_for
from tests.unit.workers.tools.kit import config_of, opened

LETTER = {"to": "ann@example.org", "subject": "Ihre Bestellung 7", "text": "Grüße.\n.\nEnde"}


def provider(server, **fields):
    return {"host": "127.0.0.1", "port": server.port, "security": "none", **fields}


def send(servers, arguments=LETTER, *, key="j/s/0", timeout_s=5.0, secrets=None, providers=None, **fields):
    """Make one call over these servers and return its answer, or its error."""

    async def main():
        spec = {"kind": "email", "sender": "Orders <orders@shop.example>", **fields}
        spec["providers"] = providers or [provider(one) for one in servers]
        async with opened(secrets=secrets, **spec) as tool:
            try:
                return await tool.call(arguments, timeout_s=timeout_s, idempotency_key=key)
            except AdapterError as error:
                return error

    return asyncio.run(main())


def test_a_letter_arrives_as_it_was_written():
    with MailServer() as server:
        arguments = {
            **LETTER,
            "to": ["ann@example.org", "bob@example.org"],
            "cc": "eve@example.org",
            "html": "<p>Hi</p>",
        }
        answer = send([server], {**arguments, "reply_to": "help@shop.example"})
    [letter] = server.letters
    assert server.envelopes == [("orders@shop.example", ["ann@example.org", "bob@example.org", "eve@example.org"])]
    assert letter["subject"] == "Ihre Bestellung 7"
    assert (letter["from"], letter["reply-to"]) == ("Orders <orders@shop.example>", "help@shop.example")
    assert letter.get_body(("plain",)).get_content().splitlines() == ["Grüße.", ".", "Ende"]
    assert letter.get_body(("html",)).get_content().strip() == "<p>Hi</p>"
    assert answer.output == {"message_id": letter["message-id"], "provider": f"127.0.0.1:{server.port}"}


def test_two_letters_of_one_call_have_one_message_id_and_the_key_does_not_show():
    with MailServer() as server:
        for key in ("secret-job/s/0", "secret-job/s/0", "secret-job/s/1"):
            send([server], key=key)
    ids = [letter["message-id"] for letter in server.letters]
    assert ids[0] == ids[1] == message_id_of("secret-job/s/0", "orders@shop.example") != ids[2]
    assert all("secret" not in str(letter) for letter in server.letters)


@pytest.mark.parametrize("at", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("how", ["drop", "451", "silent"])
def test_until_the_content_is_sent_any_failure_leads_to_the_next_provider(at, how):
    with MailServer() as first, MailServer() as second:
        if how == "drop":
            first.drop_at.add(at)
        elif how == "silent":
            first.silent_at.add(at)
        else:
            first.replies[at] = b"451 not now"
        answer = send([first, second], timeout_s=1.0)
    assert answer.provider == f"127.0.0.1:{second.port}"
    assert (len(first.letters), len(second.letters)) == (0, 1)


def test_where_nobody_listens_the_next_provider_gets_the_letter():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = {"host": "127.0.0.1", "port": free.getsockname()[1], "security": "none"}
    with MailServer() as second:
        assert send([], providers=[closed, provider(second, name="second")]).provider == "second"
    assert len(second.letters) == 1


@pytest.mark.parametrize(("how", "kind"), [("drop", ErrorKind.NETWORK), ("silent", ErrorKind.TIMEOUT)])
def test_from_the_content_on_the_fate_is_unknown_and_no_other_provider_gets_the_letter(how, kind):
    with MailServer() as first, MailServer() as second:
        (first.drop_at if how == "drop" else first.silent_at).add("CONTENT")
        error = send([first, second], timeout_s=1.0)
    assert (error.kind, error.unconfirmed) == (kind, True)
    assert (len(first.letters), len(second.letters)) == (1, 0)


@pytest.mark.parametrize("reply", [b"999 what", b"hello", b"250-" + b"x" * 10_000])
def test_an_answer_to_the_content_that_is_none_leaves_the_fate_unknown(reply):
    with MailServer() as first, MailServer() as second:
        first.replies["CONTENT"] = reply
        error = send([first, second], timeout_s=1.0)
    assert error.unconfirmed
    assert second.letters == []


def test_a_server_that_refuses_the_content_for_now_has_not_taken_it():
    with MailServer() as first, MailServer() as second:
        first.replies["CONTENT"] = b"452 disk full"
        assert send([first, second]).provider == f"127.0.0.1:{second.port}"
    assert len(second.letters) == 1


@pytest.mark.parametrize("at", ["RCPT bob@example.org", "CONTENT"])
def test_what_is_refused_for_ever_is_refused_everywhere_and_nobody_gets_a_part(at):
    with MailServer() as first, MailServer() as second:
        first.replies[at] = b"550 no such user"
        error = send([first, second], {**LETTER, "to": ["ann@example.org", "bob@example.org"]})
    assert (error.kind, error.unconfirmed) == (ErrorKind.BAD_REQUEST, False)
    assert first.letters == second.letters == []


def test_a_reply_without_end_ends():
    with MailServer() as first, MailServer() as second:
        first.replies["EHLO"] = b"\r\n".join([b"250-x"] * 1_000)
        assert send([first, second], timeout_s=2.0).provider == f"127.0.0.1:{second.port}"


def test_a_server_that_is_down_is_left_alone_and_its_recovery_is_noticed():
    async def main():
        with MailServer() as first, MailServer() as second:
            providers = [provider(first, name="first"), provider(second, name="second")]
            breaker = {"failures": 2, "window": 2, "open_s": 0.3}
            spec = {"kind": "email", "sender": "orders@shop.example", "providers": providers, "breaker": breaker}
            first.stop()
            async with opened(**spec) as tool:

                async def deliver(number):
                    return (await tool.call(LETTER, timeout_s=5, idempotency_key=f"j/s/{number}")).provider

                down = [await deliver(number) for number in range(6)]
                first.start()
                early = await deliver(6)
                await asyncio.sleep(0.35)
                back = [await deliver(number) for number in (7, 8)]
            ids = [letter["message-id"] for letter in first.letters + second.letters]
            return down, early, back, first.connections, len(ids), len(set(ids))

    down, early, back, asked, letters, different = asyncio.run(main())
    assert (down, early, back) == (["second"] * 6, "second", ["first"] * 2)
    assert (asked, letters, different) == (2, 9, 9)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"to": "ann@example.org\r\nBcc: all@example.org"}, "no address"),
        ({"to": "ann@example.org>\r\nRCPT TO:<eve@example.org"}, "no address"),
        ({"to": "ann@example.org, eve@example.org"}, "no address"),
        ({"to": "Ann <ann@example.org>"}, "no address"),
        ({"to": '"a\\"b"@example.org'}, "no address"),
        ({"to": "a..b@example.org"}, "no address"),
        ({"to": "änn@example.org"}, "no address"),
        ({"to": []}, "between one and"),
        ({"to": [f"a{n}@example.org" for n in range(101)]}, "between one and"),
        ({"cc": "x\n@example.org"}, "no address"),
        ({"reply_to": "a@b.example\r\nX-Evil: 1"}, "no address"),
        ({"subject": "Hi\r\nBcc: all@example.org"}, "no letter can be made"),
        ({"subject": "Hi\nX-Evil: 1"}, "no letter can be made"),
        ({"subject": "Hi\rX-Evil: 1"}, "no letter can be made"),
        ({"text": "\ud800"}, "no letter can be made"),
    ],
)
def test_who_writes_an_argument_writes_no_header_and_no_command(arguments, said):
    with MailServer() as server:
        error = send([server], {**LETTER, **arguments})
    assert (error.kind, error.unconfirmed, server.connections) == (ErrorKind.BAD_REQUEST, False, 0)
    assert said in error.message


@pytest.mark.parametrize(
    "text",
    [
        "a\r\n.\r\nMAIL FROM:<evil@example.org>\r\nRCPT TO:<eve@example.org>\r\nDATA\r\nx\r\n.\r\n",
        "a\n.\nMAIL FROM:<evil@example.org>",
        "a\r.\rMAIL FROM:<evil@example.org>",
        "a\n.\r\nMAIL FROM:<evil@example.org>",
        "a\x0b.\x0cMAIL FROM:<evil@example.org>\u2028.\u2028QUIT",
        ".", "..", "", "x" * 5_000, ".\n" * 50,
    ],
)  # fmt: skip
def test_a_text_stays_one_text_whatever_it_holds(text):
    with MailServer() as server:
        assert not isinstance(send([server], {**LETTER, "text": text}), AdapterError)
    assert len(server.letters) == 1
    words = [command.split(":")[0].split(" ")[0] for command in server.commands]
    assert words == ["ehlo", "mail", "rcpt", "data", "quit"] or [word.upper() for word in words] == [
        "EHLO", "MAIL", "RCPT", "DATA", "QUIT"
    ]  # fmt: skip
    got = server.letters[0].get_content()
    assert got.replace("\n", "").replace("\r", "") == text.replace("\n", "").replace("\r", "")


def test_only_listed_recipients_are_written_to():
    with MailServer() as server:
        allowed = {"recipients": ["*@example.org", "boss@shop.example"]}
        assert send([server], {**LETTER, "to": ["ANN@Example.org", "boss@shop.example"]}, **allowed).output
        for other in ("ann@example.org.evil.example", "ann@notexample.org", "clerk@shop.example"):
            assert send([server], {**LETTER, "cc": other}, **allowed).kind is ErrorKind.BAD_REQUEST
    assert len(server.letters) == 1


def test_a_login_goes_over_tls_whose_certificate_is_checked(tmp_path, monkeypatch):
    certificate, context = certificate_for("DNS:localhost", tmp_path)
    secrets = {"MAIL_USER": "u", "MAIL_PASSWORD": "p"}
    login = {"user_env": "MAIL_USER", "password_env": "MAIL_PASSWORD", "security": "starttls", "host": "localhost"}
    with MailServer(tls=context, login=("u", "p")) as server:
        untrusted = send([], secrets=secrets, providers=[provider(server, **login)])
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        other_name = send([], secrets=secrets, providers=[provider(server, **{**login, "host": "127.0.0.1"})])
        taken = send([], secrets=secrets, providers=[provider(server, **login)])
        wrong = send([], secrets={**secrets, "MAIL_PASSWORD": "x"}, providers=[provider(server, **login)])
    assert (untrusted.kind, other_name.kind, wrong.kind) == (ErrorKind.NETWORK, ErrorKind.NETWORK, ErrorKind.AUTH)
    assert taken.output["message_id"] == server.letters[0]["message-id"]
    assert not any("AUTH" in command for command in server.commands[:2])


def test_a_server_without_encryption_gets_no_letter_where_it_was_asked_for():
    with MailServer() as server:
        error = send([], providers=[provider(server, security="starttls")])
    assert (error.kind, server.letters) == (ErrorKind.AUTH, [])


def test_a_password_never_goes_unencrypted():
    fields = {"user_env": "A", "password_env": "B", "security": "none", "host": "127.0.0.1"}
    with pytest.raises(ValidationError, match="encrypted"):
        config_of(kind="email", sender="a@b.example", providers=[fields])


def test_what_is_missing_is_said_at_the_start():
    with MailServer() as server:
        with pytest.raises(ConfigError, match="MAIL_USER"):
            send([], providers=[provider(server, security="tls", user_env="MAIL_USER", password_env="B")])
        with pytest.raises(ConfigError, match="no address"):
            send([server], sender="orders")


def test_a_call_that_is_given_up_sends_nothing_later():
    async def main():
        with MailServer() as server:
            server.silent_at.add("RCPT")
            spec = {"kind": "email", "sender": "a@b.example", "providers": [provider(server)]}
            async with opened(**spec) as tool:
                running = asyncio.create_task(tool.call(LETTER, timeout_s=20, idempotency_key="k"))
                await asyncio.sleep(0.2)
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                await asyncio.sleep(0.2)
                return server.letters, server.commands

    began = time.monotonic()
    letters, commands = asyncio.run(main())
    assert (letters, "DATA" in [one.upper() for one in commands]) == ([], False)
    assert time.monotonic() - began < 5
