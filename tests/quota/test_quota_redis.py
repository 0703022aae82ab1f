"""The quota in a real Redis: the script does what the pot does, and what goes wrong is said without a password."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

import msgspec
import pytest
from quotakit import ask, need_redis
from scale import RedisServer, redis_server

from batchproc.core.pot import Pot, exchange
from batchproc.errors import UsageError
from batchproc.lease import Ask, QuotaLost, Want
from batchproc.quota.redisstore import RedisStore


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """One for all tests here."""
    need_redis()
    with redis_server() as one:
        yield one


def store(server: RedisServer, worker: str = "a") -> RedisStore:
    return RedisStore(server.url, f"127.0.0.1:{server.port}", worker)


def _asks(seed: int) -> Iterator[tuple[float, str, Ask]]:
    """Anything that workers may ask, in any order, also with a clock that jumps."""
    u = random.Random(seed)
    now = 1.7e9
    for _ in range(150):
        now += u.choice((0.0, 0.01, 0.3, 2.0, u.random() * 20, -0.3137, -5.0, 4000.0) if u.random() < 0.4 else (0.05,))
        wants = [
            Want(what, window_s, given, u.choice((0.0, 1.0, 50.0, -3.0, 7.5)), u.choice((0.0, 0.0, 20.0)), told)
            for what, window_s, given, told in (
                ("requests", 60.0, u.choice((600.0, 600.0, 300.0, 0.0)), u.choice((0.0, 0.0, 500.0))),
                ("tokens", 60.0, 6000.0, 0.0),
                ("requests", 86_400.0, 10_000.0, u.choice((0.0, 9_000.0))),
            )
            if u.random() < 0.8
        ]
        more = {"hold_s": u.choice((0.0, 0.0, 0.0, 3.0)), "leaving": u.random() < 0.1, "reset": u.random() < 0.05}
        yield now, u.choice("abcd"), Ask(f"batchproc:{{{seed}}}", tuple(wants), 0.25, **more)


@pytest.mark.parametrize("seed", range(4))
async def test_the_script_says_what_the_pot_says(seed: int, server: RedisServer) -> None:
    """Answer for answer."""
    pot = Pot()
    stores = {}
    for name in "abcd":
        stores[name] = store(server, name)
        await stores[name].open()
    for n, (now, worker, one) in enumerate(_asks(seed)):
        stores[worker].at(now)
        said = (await stores[worker].exchange([one]))[0]
        wanted = exchange(pot, one, worker, now)
        assert said.wait_s == pytest.approx(wanted.wait_s, abs=2e-3), n
        assert said.hold_s == pytest.approx(wanted.hold_s, abs=2e-3), n
        assert (said.workers, said.limits, said.given) == (wanted.workers, wanted.limits, wanted.given), n
    for one in stores.values():
        await one.close()


async def test_models_in_one_round_trip_by_the_servers_clock(server: RedisServer) -> None:
    """Answers in the order of the asks."""
    one = store(server)
    await one.open()
    answers = await one.exchange(
        [ask(5.0, "batchproc:{x}:m"), ask(9.0, "batchproc:{x}:n"), ask(0.0, "batchproc:{x}:o")]
    )
    assert [a.wait_s for a in answers] == [pytest.approx(0.5), pytest.approx(0.9), 0.0]
    await one.close()


LIMIT_0 = (
    '{"version":1,"at":0,"hold":0,"workers":{},"parts":{"tokens/60":{"given":9,"limit":0,"window_s":60,"level":0,'
    '"spare":0,"spare_at":0}}}'
)


NEWER = '{"version": 2, "parts": {}, "workers": {}}'


@pytest.mark.parametrize("value", ["x", "{}", NEWER, '{"version": 1}', LIMIT_0])
async def test_a_key_that_holds_something_else_grants_nothing(value: str, server: RedisServer) -> None:
    """Not overwritten either."""
    import redis.asyncio as redis

    client = redis.Redis.from_url(server.url)
    await client.set("batchproc:{bad}", value)
    one = store(server)
    await one.open()
    with pytest.raises(QuotaLost):
        await one.exchange([ask(1.0, "batchproc:{bad}")])
    with pytest.raises(QuotaLost):
        await one.exchange([ask(1.0, "batchproc:{good}"), ask(1.0, "batchproc:{bad}")])
    assert await client.get("batchproc:{bad}") == value.encode()
    await client.rpush("batchproc:{list}", "x")
    with pytest.raises(QuotaLost):
        await one.exchange([ask(1.0, "batchproc:{list}")])
    await client.aclose()
    await one.close()


async def test_a_server_that_forgot_its_scripts_is_taught_again(server: RedisServer) -> None:
    """After a restart, or SCRIPT FLUSH: a lost store, which a probe brings back."""
    import redis.asyncio as redis

    one = store(server)
    await one.open()
    client = redis.Redis.from_url(server.url)
    await client.script_flush()
    await client.aclose()
    with pytest.raises(QuotaLost):
        await one.exchange([ask(1.0)])
    await one.probe()
    await one.exchange([ask(1.0)])
    await one.close()


async def test_no_server_is_said_with_its_host_and_without_the_password() -> None:
    """Nobody listens; or somebody who never answers."""
    need_redis()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        for backlog in (None, 1):
            if backlog is not None:
                silent.listen(backlog)
            one = RedisStore(f"redis://:s3cret@127.0.0.1:{port}/0", f"127.0.0.1:{port}", "a")
            with pytest.raises(UsageError) as caught:
                await one.open()
            assert f"127.0.0.1:{port}" in caught.value.message
            assert "s3cret" not in caught.value.message + (caught.value.hint or "")


async def test_a_wrong_password_is_said_and_not_shown() -> None:
    """The server demands another."""
    need_redis()
    import redis.asyncio as redis

    with redis_server() as guarded:
        client = redis.Redis.from_url(guarded.url)
        await client.config_set("requirepass", "right")
        for url in (guarded.url, guarded.url.replace("//", "//:s3cret@")):
            with pytest.raises(
                UsageError, match=r"password is wrong|Authentication required|NOAUTH|WRONGPASS"
            ) as caught:
                await RedisStore(url, "h:1", "a").open()
            assert "s3cret" not in caught.value.message
        good = RedisStore(guarded.url.replace("//", "//:right@"), "h:1", "a")
        await good.open()
        assert msgspec.json.encode((await good.exchange([ask(1.0)]))[0].workers) == b"1"
        await good.close()
        await client.aclose()
