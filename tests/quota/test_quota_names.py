"""`--quota URL`, and what a quota is called: no password is shown, and no key can be read from a name."""

from __future__ import annotations

import hashlib

import pytest

from batchproc.building.connect import hidden_url
from batchproc.cli.closing import typed
from batchproc.errors import UsageError
from batchproc.quota.names import Names, hidden, place_of


@pytest.mark.parametrize(
    ("text", "path", "url", "where", "name"),
    [
        ("sqlite:///var/tmp/org.quota", "/var/tmp/org.quota", "", "/var/tmp/org.quota", None),
        ("sqlite:////var/tmp/org.quota", "//var/tmp/org.quota", "", "//var/tmp/org.quota", None),
        ("sqlite:org.quota?name=x", "org.quota", "", "org.quota", "x"),
        ("sqlite:///C:/org.quota", "C:/org.quota", "", "C:/org.quota", None),
        ("redis://h", "", "redis://h", "h:6379", None),
        ("redis://h:1/2?name=a-4o&protocol=3", "", "redis://h:1/2?protocol=3", "h:1", "a-4o"),
        ("valkey://:pw@h:1/0", "", "redis://:pw@h:1/0", "h:1", None),
        ("valkeys://u:pw@h", "", "rediss://u:pw@h", "h:6379", None),
    ],
)
def test_places(text: str, path: str, url: str, where: str, name: str | None) -> None:
    """A file, or a server; what may be shown of it has no password."""
    place = place_of(text)
    assert (place.path, place.url, place.where, place.name) == (path, url, where, name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/var/tmp/file",
        "sqlite://",
        "sqlite:///",
        "sqlite://host/file",
        "sqlite:///f?mode=ro",
        "http://h",
        "redis://",
        "redis://:s3cret@",
        "redis://:s3/cret@host",
        "redis://:s3cret@h:port/0",
        "redis://:s3cret@h/0?name=a b",
        "redis://:s3cret@h/0?name=",
        "memcached://:s3cret@h",
        "redis://[:s3cret@h",
    ],
)
def test_what_is_no_place(text: str) -> None:
    """Is said, with what to type, and without the password."""
    with pytest.raises(UsageError) as caught:
        place_of(text)
    assert "cret" not in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    "text",
    ["redis://:s3cret@h", "redis://u:s3@cret@h/0", "redis://:s3/cret@h/1?name=x", "redis://h/0?password=s3cret&name=x"],
)
def test_a_password_is_not_shown(text: str) -> None:
    """Nor in the command to type next, however it was typed."""
    command = typed(["batchproc", "run", "j", "--quota", text, f"--quota={text}"])
    for shown in (hidden(text), hidden_url(text), command):
        assert "cret" not in shown
        assert "…" in shown
    assert hidden_url("redis://h:1/0?name=x") == "redis://h:1/0?name=x"


def test_names() -> None:
    """The same for the same base URL, key and model; another for any other; nothing of the key in it."""
    base = Names("https://api.openai.com/v1", "sk-abc", None).of("m")
    assert base == Names("https://API.openai.com/v1/", "sk-abc", None).of("m")
    others = [
        Names("https://api.openai.com/v1", "sk-abd", None).of("m"),
        Names("https://api.openai.com/v2", "sk-abc", None).of("m"),
        Names("https://api.openai.com/v1", "sk-abc", None).of("m2"),
        Names("https://api.openai.com/v1", "", None).of("m"),
    ]
    assert len({base, *others}) == 5
    digest = base.removeprefix("batchproc:{").removesuffix("}")
    assert len(digest) == 12
    texts = ("sk-abc", "sk-abcm", "https://api.openai.com/v1sk-abc", "https://api.openai.com/v1msk-abc")
    assert not any(
        hashlib.new(kind, t.encode()).hexdigest()[:12] == digest for kind in ("md5", "sha1", "sha256") for t in texts
    )


def test_a_name_of_ones_own() -> None:
    """Two organisations' keys may share one; each model has its own quota all the same."""
    assert Names("a", "k1", "org").of("m") == Names("b", "k2", "org").of("m") == "batchproc:{org}:m"
    assert Names("a", "k1", "org").of("n") != Names("a", "k1", "org").of("m")
