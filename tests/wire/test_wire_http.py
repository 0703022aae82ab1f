"""What goes over the wire, byte for byte, and what comes back: always a Reply, never an exception."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from aioresponses import CallbackResult, aioresponses

from batchproc.model import Trouble
from batchproc.wire import body as body_reader
from batchproc.wire import http

BODY = '{"b":1,  "a":1.0e0,"t":"\\ud800 é\u2028"}'.encode()
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nX-Request-ID: r1\r\n\r\n{}"
HEADERS = {"Content-Type": "application/json", "Authorization": "Bearer secret"}


def answer(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def test_body_and_headers_go_out_as_they_are(serve, connect):
    """Every byte of a body arrives, with the key and nothing of what a server said before."""
    server = await serve(OK)
    reply = await (await connect(server.url + "/v1", headers=HEADERS)).send("/chat/completions", "m", BODY)
    assert (reply.status, reply.body, reply.trouble) == (200, b"{}", None)
    assert reply.headers["x-request-id"] == "r1"
    assert server.bodies == [BODY]
    assert server.heads[0].startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert b"Authorization: Bearer secret\r\n" in server.heads[0]
    assert b"Content-Type: application/json\r\n" in server.heads[0]


class Mocked(aiohttp.ClientResponse):
    """aioresponses leaves out an argument that newer aiohttp wants."""

    def __init__(self, *args, **kwargs):
        kwargs.setdefault("stream_writer", SimpleNamespace(output_size=0))
        super().__init__(*args, **kwargs)


async def test_through_aioresponses():
    """A mocked session sees the same call: one POST, this body, no redirects."""
    transport = http.HttpTransport(url_for=lambda p, m: "http://api.test/v1" + p, headers=HEADERS, timeout_s=60)
    seen = []

    def callback(url, **kwargs):
        seen.append(kwargs)
        return CallbackResult(
            status=429, headers={"Retry-After": "3"}, payload={"error": {"message": "slow"}}, response_class=Mocked
        )

    await transport.open()
    with aioresponses() as mocked:
        mocked.post("http://api.test/v1/embeddings", callback=callback)
        reply = await transport.send("/embeddings", "m", BODY)
    await transport.close()
    assert (reply.status, reply.headers["retry-after"]) == (429, "3")
    assert reply.body == b'{"error": {"message": "slow"}}'
    assert seen[0]["data"] == BODY
    assert seen[0]["allow_redirects"] is False
    assert seen[0]["headers"]["Authorization"] == "Bearer secret"


KEY = ConnectionKey("api.test", 443, True, True, None, None, None)


@pytest.mark.parametrize(
    ("error", "trouble", "why"),
    [
        (aiohttp.ClientConnectorError(KEY, OSError(113, "No route to host")), Trouble.CONNECT, "no route"),
        (aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(-2, "x")), Trouble.CONNECT, "no such host"),
        (aiohttp.ClientConnectorSSLError(KEY, ssl.SSLError(1, "bad")), Trouble.CONNECT, "no TLS"),
        (
            aiohttp.ClientConnectorCertificateError(KEY, ssl.SSLCertVerificationError("self-signed")),
            Trouble.CONNECT,
            "a certificate nobody vouches for",
        ),
        (aiohttp.ConnectionTimeoutError("t"), Trouble.CONNECT, "no answer to the first packet"),
        (aiohttp.SocketTimeoutError("t"), Trouble.TIMEOUT, "silence after the request"),
        (TimeoutError(), Trouble.TIMEOUT, "the total deadline"),
        (aiohttp.ServerDisconnectedError(), Trouble.BROKEN, "closed before the answer"),
        (aiohttp.ClientOSError(104, "reset"), Trouble.BROKEN, "reset"),
        (ConnectionResetError(104, "reset"), Trouble.BROKEN, "reset, not wrapped"),
        (OSError(24, "Too many open files"), Trouble.BROKEN, "an operating system that is out of something"),
        (aiohttp.ClientPayloadError("cut"), Trouble.BROKEN, "the body ended early"),
        (aiohttp.InvalidURL("x"), Trouble.BROKEN, "a URL that aiohttp does not take"),
        (
            aiohttp.ClientHttpProxyError(None, (), status=407, message="\udcff"),  # type: ignore[arg-type]
            Trouble.CONNECT,
            "the proxy wants credentials: nothing reached the server",
        ),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
async def test_every_exception_becomes_trouble(error, trouble, why):
    """Nothing that a network can do comes out as an exception, and the words can be encoded."""
    transport = http.HttpTransport(url_for=lambda p, m: "https://api.test" + p, headers={}, timeout_s=60)
    await transport.open()
    with aioresponses() as mocked:
        mocked.post("https://api.test/x", exception=error)
        reply = await transport.send("/x", "m", b"{}")
    await transport.close()
    assert (reply.status, reply.body, reply.trouble) == (0, b"", trouble), why
    assert reply.detail
    reply.detail.encode()


async def test_redirect_is_not_followed(serve, connect):
    """A redirect comes back as it is, and the place it points to sees nothing of the key."""
    other = await serve(OK)
    for status in (b"301 Moved", b"302 Found", b"307 Temporary", b"308 Permanent"):
        first = await serve(answer(b"", b"Location: " + other.url.encode() + b"/steal", status=status))
        reply = await (await connect(first.url, headers=HEADERS)).send("/x", "m", BODY)
        assert reply.status == int(status[:3])
    assert other.connections == 0


async def test_total_deadline_beats_a_dripping_server(serve, connect):
    """A server that sends a byte now and then never resets the deadline."""

    async def drip(reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        while not reader.at_eof():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0)

    server = await serve(drip)
    reply = await (await connect(server.url, timeout_s=0.2)).send("/x", "m", b"{}")
    assert (reply.trouble, reply.detail) == (Trouble.TIMEOUT, "no whole answer within 0.2 s")


async def test_connection_refused(connect):
    """Nobody listens: no connection, and so no request."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    reply = await (await connect(f"http://127.0.0.1:{port}")).send("/x", "m", b"{}")
    assert reply.trouble is Trouble.CONNECT
    assert f"127.0.0.1:{port}" in reply.detail


async def test_unknown_name(connect, monkeypatch):
    """The resolver knows no such host: said in words."""

    async def getaddrinfo(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    reply = await (await connect("http://no-such-host.invalid:80")).send("/x", "m", b"{}")
    assert (reply.trouble, reply.detail) == (
        Trouble.CONNECT,
        "no connection to no-such-host.invalid:80: the name is not known",
    )


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"", "closed without a word"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "the body ends early"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\r\n", "a chunk ends early"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n", "a chunk of no size"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "another protocol"),
        (b"HTTP/1.1 abc OK\r\n\r\n", "a status that is no number"),
        (b"HTTP/1.1 200 OK\r\nX-Big: " + b"x" * (1 << 18) + b"\r\n\r\n", "a header of 256 kB"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "a length below zero"),
        (answer(b"not gzip at all", b"Content-Encoding: gzip"), "compressed, it says"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
async def test_a_broken_answer(serve, connect, sent, why):
    """What is not whole HTTP is a broken connection, whatever the bytes."""

    async def script(reader, writer):
        writer.write(sent)
        await writer.drain()
        writer.close()

    server = await serve(script)
    reply = await (await connect(server.url)).send("/x", "m", b"{}")
    assert (reply.status, reply.trouble) == (0, Trouble.BROKEN), why


async def test_reset_in_the_middle_of_the_body(serve, connect):
    """A TCP reset is a broken connection."""

    async def script(reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        await writer.drain()
        writer.transport.abort()

    server = await serve(script)
    assert (await (await connect(server.url)).send("/x", "m", b"{}")).trouble is Trouble.BROKEN


@pytest.mark.parametrize("size", [(1 << 20) - 1, (1 << 20) + 1, 5 << 20])
async def test_large_bodies_go_out_whole_and_without_a_warning(serve, connect, size):
    """aiohttp warns of large bytes objects, and a warning is an error here."""
    server = await serve(OK)
    body = b'{"x":"' + b"a" * (size - 8) + b'"}'
    assert (await (await connect(server.url, headers=HEADERS)).send("/x", "m", body)).status == 200
    assert server.bodies == [body]
    assert b"Content-Length: %d\r\n" % size in server.heads[0]
    assert b"Content-Type: application/json\r\n" in server.heads[0]
    assert b"isposition" not in server.heads[0]


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, 3 << 20])
async def test_answers_of_every_size_arrive_whole(serve, connect, size):
    """Short answers are read at once, long ones in pieces: the same bytes."""
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    server = await serve(answer(body))
    assert (await (await connect(server.url)).send("/x", "m", b"{}")).body == body


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"3e8\r\n" + b"x" * 1000 + b"\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (answer(b"x" * 1001), "it says its length"),
        (CHUNKED.replace(b"3e8", b"3e9").replace(b"x\r\n0", b"xx\r\n0"), "it does not say its length"),
        (answer(gzip.compress(b"x" * (16 << 20), mtime=0), b"Content-Encoding: gzip"), "a bomb: 16 MB in 16 kB"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
async def test_a_body_over_the_cap(serve, connect, monkeypatch, sent, why):
    """A body over the cap is refused while it is read, not once it is in memory."""
    monkeypatch.setattr(body_reader, "MOST_BODY", 1000)
    server = await serve(sent)
    reply = await (await connect(server.url)).send("/x", "m", b"{}")
    assert (reply.trouble, reply.body) == (Trouble.TOO_LARGE, b""), why


@pytest.mark.parametrize(
    "sent", [answer(b"x" * 1000), CHUNKED, answer(gzip.compress(b"x" * 1000, mtime=0), b"Content-Encoding: gzip")]
)
async def test_a_body_of_just_the_cap(serve, connect, monkeypatch, sent):
    """The cap itself is allowed; a compressed answer is measured and returned as what it holds."""
    monkeypatch.setattr(body_reader, "MOST_BODY", 1000)
    server = await serve(sent)
    assert (await (await connect(server.url)).send("/x", "m", b"{}")).body == b"x" * 1000


async def test_no_cookies_are_kept(serve, connect):
    """A cookie that a server sets does not come back to it."""
    server = await serve(answer(b"{}", b"Set-Cookie: a=b; Path=/"))
    transport = await connect(server.url)
    for _ in range(2):
        await transport.send("/x", "m", b"{}")
    assert server.connections == 1, "the connection is used again"
    assert all(b"ookie" not in head for head in server.heads)


async def test_send_before_open_is_a_mistake():
    """A transport that was never opened says so: that is a bug of the caller."""
    transport = http.HttpTransport(url_for=lambda p, m: p, headers={}, timeout_s=1)
    with pytest.raises(RuntimeError, match="not open"):
        await transport.send("/x", "m", b"{}")
    await transport.close()


async def test_proxy_gets_the_request_with_its_credentials(serve, connect):
    """Through a proxy the whole URL goes out, with the proxy's own credentials and not without them."""
    proxy = await serve(OK)
    url = proxy.url.replace("http://", "http://user:p%40ss@")
    transport = await connect("http://api.test/v1", proxy=url, headers=HEADERS)
    assert (await transport.send("/x", "m", BODY)).status == 200
    assert proxy.heads[0].startswith(b"POST http://api.test/v1/x HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic dXNlcjpwQHNz\r\n" in proxy.heads[0]
    assert b"Authorization: Bearer secret\r\n" in proxy.heads[0]


PROXIED = "http://proxy.test:3128"


@pytest.mark.parametrize(
    ("environment", "url", "proxy", "why"),
    [
        ({}, "https://api.test/v1", None, "nothing is set"),
        ({"HTTPS_PROXY": PROXIED}, "https://api.test/v1", PROXIED, "for https"),
        ({"https_proxy": PROXIED}, "https://api.test/v1", PROXIED, "lower case counts too"),
        ({"HTTPS_PROXY": PROXIED}, "http://api.test/v1", None, "http asks for HTTP_PROXY"),
        ({"HTTP_PROXY": PROXIED}, "http://api.test/v1", PROXIED, "for http"),
        ({"HTTPS_PROXY": "proxy.test:3128"}, "https://api.test", PROXIED, "no scheme: http is meant"),
        ({"HTTPS_PROXY": "http://u:p@proxy.test"}, "https://api.test", "http://u:p@proxy.test", "credentials stay"),
        ({"HTTPS_PROXY": ""}, "https://api.test", None, "set to nothing"),
        ({"HTTPS_PROXY": PROXIED, "NO_PROXY": "api.test"}, "https://api.test", None, "the host itself"),
        ({"HTTPS_PROXY": PROXIED, "NO_PROXY": "b.c,.test"}, "https://api.test", None, "its domain"),
        ({"HTTPS_PROXY": PROXIED, "NO_PROXY": "api.test:8443"}, "https://api.test:8443", None, "host and port"),
        ({"HTTPS_PROXY": PROXIED, "NO_PROXY": "api.test:8443"}, "https://api.test", PROXIED, "another port"),
        ({"HTTPS_PROXY": PROXIED, "NO_PROXY": "*"}, "https://api.test", None, "everything"),
        ({"HTTP_PROXY": PROXIED, "NO_PROXY": "127.0.0.1"}, "http://127.0.0.1:8000", None, "this machine"),
        ({"HTTPS_PROXY": PROXIED, "NO_PROXY": "pi.test"}, "https://api.test", PROXIED, "only whole labels"),
    ],
)
def test_proxy_for(monkeypatch, environment, url, proxy, why):
    """The environment names the proxy as it does for other programs."""
    for scheme in ("http", "https", "no", "all"):
        monkeypatch.delenv(f"{scheme}_proxy", raising=False)
        monkeypatch.delenv(f"{scheme}_proxy".upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert http.proxy_for(url) == proxy, why


async def test_a_url_is_made_once_for_each_path_and_model(serve, monkeypatch):
    """And of as many models as a file has lines only so many are kept."""
    monkeypatch.setattr(http, "_MOST_URLS", 2)
    server = await serve(OK)
    asked = []

    def url_for(path: str, model: str) -> str:
        asked.append((path, model))
        return f"{server.url}/d/{model}{path}"

    transport = http.HttpTransport(url_for=url_for, headers={}, timeout_s=60)
    await transport.open()
    for path, model in (("/x", "a"), ("/x", "b"), ("/x", "a"), ("/y", "a"), ("/y", "a")):
        assert (await transport.send(path, model, b"{}")).status == 200
    await transport.close()
    assert asked == [("/x", "a"), ("/x", "b"), ("/y", "a"), ("/y", "a")]
    assert [head.split(b" ")[1] for head in server.heads] == [b"/d/a/x", b"/d/b/x", b"/d/a/x", b"/d/a/y", b"/d/a/y"]


async def test_connections_are_kept(serve, connect):
    """Twenty requests one after another need one connection."""
    server = await serve(OK)
    transport = await connect(server.url)
    for _ in range(20):
        assert (await transport.send("/x", "m", b"{}")).status == 200
    assert server.connections == 1


async def test_a_connection_that_the_server_closed_is_not_used_again(serve, connect):
    """The server hangs up after each answer, once by saying so and once without a word."""

    async def hang_up(reader, writer):
        writer.write(OK.replace(b"X-Request-ID: r1", b"Connection: close") if server.connections % 2 else OK)
        await writer.drain()
        writer.close()

    server = await serve(hang_up)
    transport = await connect(server.url)
    for _ in range(6):
        reply = await transport.send("/x", "m", b"{}")
        assert (reply.status, reply.body) == (200, b"{}")
        for _ in range(100):  # what the server did reaches the client
            await asyncio.sleep(0)
    assert server.connections == 6


async def test_whoever_wraps_the_session_sees_every_request(serve, connect, monkeypatch):
    """A tracer that puts itself around aiohttp's session is not passed by."""
    seen = []
    own = aiohttp.ClientSession._request

    async def traced(self, method, url, **kwargs):
        seen.append(str(url))
        return await own(self, method, url, **kwargs)

    monkeypatch.setattr(aiohttp.ClientSession, "_request", traced)
    server = await serve(OK)
    await (await connect(server.url)).send("/x", "m", b"{}")
    assert seen == [server.url + "/x"]


@pytest.mark.parametrize("header", ["Connection", "Content-Length", "Expect"])
async def test_headers_that_are_ours_go_the_ordinary_way(serve, connect, header):
    """What frames a request is aiohttp's to judge."""
    server = await serve(OK)
    value = {"Connection": "close", "Content-Length": "2", "Expect": "never"}[header]
    transport = await connect(server.url, headers={header: value})
    await transport.send("/x", "m", b"{}")
    assert all(route is None for route in transport._routes.values())


async def test_informational_answers_are_passed_over(serve, connect):
    """A 103 before the answer is not the answer."""
    server = await serve(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK)
    assert (await (await connect(server.url)).send("/x", "m", b"{}")).status == 200


async def test_a_request_that_is_called_off_leaves_no_connection(serve, connect):
    """Ctrl-C while an answer is awaited: its connection is closed, the next request gets its own answer."""
    answers = iter([None, OK])
    asked = asyncio.Event()

    async def silent_first(reader, writer):
        asked.set()
        said = next(answers)
        if said is not None:
            writer.write(said)

    server = await serve(silent_first)
    transport = await connect(server.url)
    task = asyncio.create_task(transport.send("/x", "m", b"1"))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await transport.send("/x", "m", b"2")).body == b"{}"
    assert server.connections == 2
