"""The reader's view of weighing: one call, one decoding, one pair of numbers."""

from __future__ import annotations

import json
import threading

import pytest

from batchproc.tokens import weigh
from batchproc.tokens.body import Body, read
from batchproc.tokens.weigh import INLINE_BYTES, Weigher

CHAT = "/chat/completions"
BODY = json.dumps({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 20, "n": 2}).encode()
LONG = json.dumps({"messages": [{"role": "user", "content": "hi " * INLINE_BYTES}], "max_tokens": 20}).encode()
ODD = b'{"messages":5,"max_tokens":20}'
BROKEN = b'{"messages":'


def test_input_and_cap_come_together() -> None:
    """One message of one token is 8, and 20 tokens of output twice are 40."""
    assert Weigher(exact=True).weigh(CHAT, "gpt-4o", BODY) == (8, 3, 40, 2)


def test_a_body_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both numbers come from one look: decoding is half of the cost of a short body."""
    looks: list[bytes] = []

    def look(body: bytes) -> Body | None:
        looks.append(body)
        return read(body)

    monkeypatch.setattr(weigh, "read", look)
    Weigher(exact=True).weigh(CHAT, "gpt-4o", BODY)
    assert looks == [BODY]


def test_without_exact_only_the_length_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a token limit nothing reads the weight: no look inside, no encoding, no fallback to report."""
    monkeypatch.setattr(weigh, "read", None)
    monkeypatch.setattr(weigh, "rule_for", None)
    weigher = Weigher(exact=False)
    weigher.preload("gpt-4o")
    assert weigher.weigh(CHAT, "gpt-4o", b"12345") == (2, 0, None, 1)
    assert weigher.weigh(CHAT, "gpt-4o", b"") == (0, 0, None, 1)
    assert weigher.fallbacks == 0


def test_fallbacks_are_counted() -> None:
    """The summary can say how many bodies were weighed by their bytes; their cap is kept where readable."""
    weigher = Weigher(exact=True)
    assert weigher.weigh(CHAT, "gpt-4o", ODD) == (8, 0, 20, 1)
    assert weigher.weigh(CHAT, "gpt-4o", BROKEN) == (3, 0, None, 1)
    assert weigher.weigh(CHAT, "gpt-4o", BODY) == (8, 3, 40, 2)
    assert weigher.fallbacks == 2


async def test_a_long_body_weighs_the_same_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Off the event loop's thread, with the same numbers."""
    threads: list[int] = []
    inner = weigh._weigh

    def recorded(path: str, model: str, body: bytes) -> tuple[int | None, int, int | None]:
        threads.append(threading.get_ident())
        return inner(path, model, body)

    monkeypatch.setattr(weigh, "_weigh", recorded)
    weigher = Weigher(exact=True)
    weigher.preload("gpt-4o")
    assert await weigher.weigh_long(CHAT, "gpt-4o", LONG) == weigher.weigh(CHAT, "gpt-4o", LONG)
    in_thread, inline = threads
    assert in_thread != inline == threading.get_ident()


async def test_fallbacks_of_long_bodies_are_counted_too() -> None:
    """The thread's answer is counted on the loop, so that no two threads count at once."""
    weigher = Weigher(exact=True)
    assert await weigher.weigh_long(CHAT, "gpt-4o", ODD) == (8, 0, 20, 1)
    assert weigher.fallbacks == 1


async def test_without_exact_no_thread_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """A length needs no thread."""
    monkeypatch.setattr(weigh, "_weigh", None)
    assert await Weigher(exact=False).weigh_long(CHAT, "gpt-4o", LONG) == ((len(LONG) + 3) // 4, 0, None, 1)
