"""The tool `http` against a real server, some of whose answers are hostile."""

from __future__ import annotations

import asyncio
import gzip
import socket
import time

import pytest
from pydantic import ValidationError

from headrace.schemas.errors import AdapterError, ConfigError, ErrorKind
from headrace.workers.tools.addresses import is_public
from tests.tls import certificate_for
from tests.unit.workers.tools.kit import config_of, opened
from tests.unit.workers.tools.web import served

ANY = {"type": "object"}
BY_ID = {"type": "object", "required": ["id"], "properties": {"id": {}}}
BY_URL = {"type": "object", "required": ["url"], "properties": {"url": {"type": "string"}}}


def ask(prepare, arguments=None, *, timeout_s=5.0, path="/x", secrets=None, schema=ANY, **fields):
    """Serve what `prepare` sets up, make one call, and return (answer or error, the server)."""

    async def main():
        async with served() as web:
            prepare(web)
            spec = {"kind": "http", "private": True, "arguments": schema, **fields}
            if "providers" not in spec:
                spec.setdefault("url", web.url + path)
            async with opened(secrets=secrets, **spec) as tool:
                try:
                    answer = await tool.call(arguments or {}, timeout_s=timeout_s, idempotency_key="j/s/0")
                    return answer.output, web
                except AdapterError as error:
                    return error, web

    return asyncio.run(main())


def answering(*args, path="/x", **kwargs):
    return lambda web: web.answer(path, *args, **kwargs)


def test_json_comes_as_json_text_as_text_and_nothing_as_none():
    assert ask(answering({"a": [1, "ä"]}))[0] == {"a": [1, "ä"]}
    assert ask(answering("grün".encode("latin-1"), content_type="text/plain; charset=ISO-8859-1"))[0] == "grün"
    assert ask(answering("plain"))[0] == "plain"
    assert ask(answering(b"", status=204))[0] is None


def test_arguments_stand_in_the_path_and_the_rest_in_the_query_or_in_the_body():
    arguments = {"id": "a/b ?", "q": "ä&b", "tags": [1, True], "none": None}
    _, web = ask(answering("", path="/c/a%2Fb%20%3F"), arguments, path="/c/{id}", schema=BY_ID)
    method, path, headers, _ = web.asked[0]
    assert (method, path) == ("GET", "/c/a%2Fb%20%3F?q=%C3%A4%26b&tags=1&tags=true")
    assert "idempotency-key" not in headers
    _, web = ask(answering(""), {"id": "ä", "n": 1}, method="POST")
    method, path, headers, body = web.asked[0]
    assert (method, path, body, headers["idempotency-key"]) == ("POST", "/x", '{"id":"ä","n":1}', "j/s/0")


@pytest.mark.parametrize("value", ["..", ".", "", None, ["a"], {"a": 1}])
def test_an_argument_in_the_path_is_one_segment_and_never_a_step_upwards(value):
    error, web = ask(answering(""), {"id": value}, path="/c/{id}", schema=BY_ID)
    assert (error.kind, error.unconfirmed, web.asked) == (ErrorKind.BAD_REQUEST, False, [])


def test_a_secret_comes_from_the_environment_and_never_shows():
    echo = answering("your key s3cret is wrong", status=401)
    error, web = ask(echo, secrets={"CRM_TOKEN": "s3cret"}, headers_env={"authorization": "Bearer CRM_TOKEN"})
    assert web.asked[0][2]["authorization"] == "Bearer s3cret"
    assert (error.kind, error.message) == (ErrorKind.AUTH, "HTTP 401: your key *** is wrong")
    for held in (None, {"CRM_TOKEN": "a\r\nx-evil: 1"}):
        with pytest.raises(ConfigError):
            ask(echo, secrets=held, headers_env={"authorization": "Bearer CRM_TOKEN"})


@pytest.mark.parametrize("header", [{"a b": "c"}, {"a": "b\r\nc: d"}, {"a:": "b"}])
def test_a_header_that_would_begin_another_is_refused_at_load(header):
    with pytest.raises(ValidationError):
        config_of(kind="http", url="http://a.example.org", headers=header)


@pytest.mark.parametrize(
    ("status", "kind", "unconfirmed"),
    [
        (302, ErrorKind.BAD_REQUEST, False),
        (400, ErrorKind.BAD_REQUEST, False),
        (404, ErrorKind.BAD_REQUEST, False),
        (403, ErrorKind.AUTH, False),
        (429, ErrorKind.RATE_LIMITED, False),
        (500, ErrorKind.SERVER_ERROR, True),
        (502, ErrorKind.SERVER_ERROR, True),
        (503, ErrorKind.OVERLOADED, True),
        (504, ErrorKind.TIMEOUT, True),
    ],
)
def test_each_status_has_its_kind_and_says_whether_the_call_may_have_been_done(status, kind, unconfirmed):
    error, _ = ask(answering("no", status=status), method="POST")
    assert (error.kind, error.unconfirmed) == (kind, unconfirmed)


def test_a_service_that_says_when_to_come_back_has_done_nothing():
    error, _ = ask(answering("busy", status=503, retry_after=7), method="POST")
    assert (error.retry_after_ms, error.unconfirmed) == (7_000, False)


def test_a_redirect_is_not_followed_wherever_it_leads():
    def prepare(web):
        web.answer("/x", status=302, location=f"{web.url}/secret")
        web.answer("/secret", "private")

    error, web = ask(prepare)
    assert (error.kind, [path for _, path, _, _ in web.asked]) == (ErrorKind.BAD_REQUEST, ["/x"])
    assert "redirects are not followed" in error.message


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.1", "0x7f.1", "2130706433", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]"]
)
def test_an_address_of_this_machine_is_not_asked_however_it_is_spelled(host):
    async def main():
        async with served() as web, opened(kind="http", url=f"http://{host}:{web.port}/x", arguments=ANY) as tool:
            web.answer("/x", "private")
            with pytest.raises(AdapterError) as caught:
                await tool.call({}, timeout_s=5, idempotency_key="k")
            return caught.value, web.asked

    error, asked = asyncio.run(main())
    assert error.kind in (ErrorKind.BAD_REQUEST, ErrorKind.NETWORK)
    assert (error.unconfirmed, asked) == (False, [])


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True), ("2001:4860:4860::8888", True), ("10.0.0.1", False), ("172.16.0.1", False),
        ("192.168.1.1", False), ("169.254.169.254", False), ("100.64.0.1", False), ("0.0.0.0", False),
        ("224.0.0.1", False), ("240.0.0.1", False), ("255.255.255.255", False), ("::", False), ("::1", False),
        ("fe80::1%eth0", False), ("fd00::1", False), ("fec0::1", False), ("ff02::1", False), ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False), ("2002:a00:1::", False), ("::7f00:1", False), ("::ffff:8.8.8.8", True),
        ("2001:db8::1", False), ("192.0.2.1", False), ("198.18.0.1", False),
    ],
)  # fmt: skip
def test_which_addresses_are_public(address, public):
    assert is_public(address) is public


def names(monkeypatch, *lookups):
    """Let every look-up of a name give the next of these lists of addresses; return what was looked up."""
    looked_up, real = [], socket.getaddrinfo

    def getaddrinfo(host, port, *args, **kwargs):
        if not str(host).endswith(".example"):
            return real(host, port, *args, **kwargs)
        found = lookups[min(len(looked_up), len(lookups) - 1)]
        looked_up.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return looked_up


def by_name(monkeypatch, lookups, **fields):
    looked_up = names(monkeypatch, *lookups)

    async def main():
        async with served() as web:
            web.answer("/x", "answered")
            async with opened(kind="http", url=f"http://shop.example:{web.port}/x", arguments=ANY, **fields) as tool:
                try:
                    return (await tool.call({}, timeout_s=5, idempotency_key="k")).output, web, looked_up
                except AdapterError as error:
                    return error, web, looked_up

    return asyncio.run(main())


def test_one_private_address_of_a_name_closes_it(monkeypatch):
    error, web, _ = by_name(monkeypatch, [["93.184.216.34", "127.0.0.1"]])
    assert (error.kind, web.asked) == (ErrorKind.BAD_REQUEST, [])
    assert "127.0.0.1" in error.message


def test_a_name_that_is_bound_anew_after_the_check_is_not_looked_up_again(monkeypatch):
    answer, web, looked_up = by_name(monkeypatch, [["127.0.0.1"], ["192.0.2.1"]], private=True)
    assert (answer, looked_up) == ("answered", ["shop.example"])
    assert web.asked[0][2]["host"] == f"shop.example:{web.port}"


def test_the_next_address_of_a_name_is_tried_where_the_first_does_not_listen(monkeypatch):
    assert by_name(monkeypatch, [["127.9.9.9", "127.0.0.1"]], private=True)[0] == "answered"


def test_a_certificate_is_held_to_the_name_and_not_to_the_address(monkeypatch, tmp_path):
    certificate, context = certificate_for("DNS:shop.example", tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    names(monkeypatch, ["127.0.0.1"])

    async def main(host):
        async with served(tls=context) as web:
            web.answer("/x", "answered")
            async with opened(kind="http", private=True, url=f"https://{host}:{web.port}/x", arguments=ANY) as tool:
                return (await tool.call({}, timeout_s=5, idempotency_key="k")).output

    assert asyncio.run(main("shop.example")) == "answered"
    with pytest.raises(AdapterError) as caught:
        asyncio.run(main("other.example"))
    assert (caught.value.kind, caught.value.unconfirmed) == (ErrorKind.NETWORK, False)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://evil.example/x", "not one that this tool may ask"),
        ("http://127.0.0.1@evil.example/", "a user or a password"),
        ("http://docs.example.org.evil.example/", "not one that this tool may ask"),
        ("http://evil.example\\@docs.example.org/", "backslash"),
        ("http://docs.example.org:8080/", "not one that this tool may ask"),
        ("file:///etc/passwd", "none of a host"),
        ("gopher://docs.example.org/", "none of a host"),
        ("http://docs.example.org/a/../b", "step upwards"),
        ("http://docs.example.org/%2e%2E/b", "step upwards"),
        ("http://docs.example.org/\r\nx: y", "control character"),
        ("http://[::1", "cannot be read"),
        ("http://docs.example.org:99999/", "cannot be read"),
        ("http://exämple.org/", "in ASCII"),
        ("//docs.example.org/", "none of a host"),
        ("x" * 9_000, "above 8192"),
    ],
)
def test_a_url_from_an_argument_leads_to_listed_hosts_only(url, said):
    fields = {"url": "{url}", "hosts": ["docs.example.org", "*.example.net"], "schema": BY_URL}
    error, _ = ask(lambda web: None, {"url": url}, **fields)
    assert (error.kind, error.unconfirmed) == (ErrorKind.BAD_REQUEST, False)
    assert said in error.message


def test_a_url_from_an_argument_is_asked_where_its_host_is_listed(monkeypatch):
    names(monkeypatch, ["127.0.0.1"])

    async def main():
        async with served() as web:
            web.answer("/a%20b", "answered")
            hosts = [f"*.docs.example:{web.port}"]
            async with opened(kind="http", url="{url}", hosts=hosts, arguments=BY_URL, private=True) as tool:
                url = f"http://EN.docs.example:{web.port}/a%20b?q=1"
                return (await tool.call({"url": url}, timeout_s=5, idempotency_key="k")).output

    assert asyncio.run(main()) == "answered"


def test_an_argument_that_is_a_url_needs_its_hosts_listed():
    with pytest.raises(ValidationError, match="list the hosts"):
        config_of(kind="http", url="{url}", arguments=BY_URL)


async def endless(writer):
    writer.write(b"HTTP/1.1 200 x\r\n\r\n")
    while True:
        writer.write(b"x" * 65_536)
        await writer.drain()


async def slow(writer):
    writer.write(b"HTTP/1.1 200 x\r\ncontent-length: 1000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def silent(writer):
    await asyncio.sleep(30)


async def broken(writer):
    writer.write(b"HTTP/1.1 200 x\r\ncontent-length: 1000\r\n\r\nhalf")
    await writer.drain()


async def nonsense(writer):
    writer.write(b"\x00\xffSSH-2.0\r\n\r\n")
    await writer.drain()


async def headers_without_end(writer):
    while True:
        writer.write(b"HTTP/1.1 200 x\r\n" + b"x: " + b"y" * 65_536 + b"\r\n")
        await writer.drain()


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (endless, ErrorKind.TOO_LARGE),
        (slow, ErrorKind.TIMEOUT),
        (silent, ErrorKind.TIMEOUT),
        (broken, ErrorKind.NETWORK),
        (nonsense, ErrorKind.NETWORK),
        (headers_without_end, ErrorKind.NETWORK),
    ],
)
def test_a_server_that_misbehaves_ends_in_time_and_in_doubt(act, kind):
    began = time.monotonic()
    error, _ = ask(lambda web: web.raw("/x", act), timeout_s=0.6, max_answer_bytes=100_000, method="POST")
    assert (error.kind, error.unconfirmed) == (kind, True)
    assert time.monotonic() - began < 3


def test_a_packed_answer_is_not_unpacked():
    bomb = gzip.compress(b"x" * 10_000_000)
    error, web = ask(answering(bomb, content_encoding="gzip"), max_answer_bytes=100_000)
    assert error.kind is ErrorKind.SERVER_ERROR
    assert web.asked[0][2]["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    "answer",
    [
        answering(b"{", content_type="application/json"),
        answering(b"[" * 100_000, content_type="application/json"),
        answering(b"\xff\xfe\x00\xd8", content_type="image/png"),
    ],
)
def test_an_answer_that_is_not_what_it_says_is_the_servers_failure(answer):
    assert ask(answer)[0].kind is ErrorKind.SERVER_ERROR


def test_where_nobody_listens_nothing_was_done():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    error, _ = ask(lambda web: None, url=f"http://127.0.0.1:{port}/", method="POST")
    assert (error.kind, error.unconfirmed) == (ErrorKind.NETWORK, False)


def test_cookies_are_not_kept_between_calls():
    async def main():
        async with served() as web:
            web.answer("/x", "a", set_cookie="session=1")
            async with opened(kind="http", private=True, url=web.url + "/x", arguments=ANY) as tool:
                for _ in range(2):
                    await tool.call({}, timeout_s=5, idempotency_key="k")
            return web.asked

    assert all("cookie" not in headers for _, _, headers, _ in asyncio.run(main()))


def test_the_second_address_answers_where_the_first_is_down():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async def main():
        async with served() as web:
            web.answer("/x", "answered")
            providers = [{"url": f"http://127.0.0.1:{port}/x"}, {"name": "second", "url": f"{web.url}/x"}]
            async with opened(kind="http", method="POST", private=True, providers=providers, arguments=ANY) as tool:
                return await tool.call({}, timeout_s=5, idempotency_key="k")

    assert asyncio.run(main()) == ("answered", "second")
