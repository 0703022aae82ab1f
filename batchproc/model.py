"""The nouns of a run: plain frozen records, no behaviour beyond arithmetic on their own fields.

All are `msgspec.Struct`s without garbage-collector tracking: a run of a million jobs creates several
of them per job, and none ever takes part in a reference cycle.
"""

from __future__ import annotations

import enum

from msgspec import Struct


class RawLine(Struct, frozen=True, gc=False):
    """One line that is not blank, without surrounding white space.

    `index` counts such lines from 0, `line` all lines from 1; `offset` is where the line starts in the
    (decompressed) input. `data` is empty for a line too long to be kept, of which only the digest is known.
    """

    index: int
    line: int
    offset: int
    data: bytes
    digest: bytes
    too_long: bool = False


class Job(Struct, frozen=True, gc=False):
    """One request to send: line `index` of the input, counted without blank lines from 0.

    `path` is the endpoint below the base URL, without `/v1` (`/chat/completions`). `body` goes out as it is.
    `digest` is 8 bytes of SHA-256 over the line without surrounding white space.
    """

    index: int
    line: int  # physical line in the file, from 1
    digest: bytes
    custom_id: str
    path: str
    model: str
    body: bytes
    metadata: bytes | None = None
    input_tokens: int = 0  # what tiktoken counts, or ceil(bytes / 4)
    limiter_tokens: int = 0  # what OpenAI's limiter estimates: a quarter of the bytes; 0 if not counted
    output_cap: int | None = None  # the job's own maximum of output tokens, times n; None if it names none
    choices: int = 1  # answers asked for at once (n): what an assumed maximum is multiplied by


class BadJob(Struct, frozen=True, gc=False):
    """A line that can never be sent: it becomes a failed result at its index and costs no request."""

    index: int
    line: int
    digest: bytes
    custom_id: str
    code: str
    message: str
    metadata: bytes | None = None


class Position(Struct, frozen=True, gc=False):
    """A place in the input: the line of job `index` starts at byte `offset` and is physical line `line`."""

    index: int
    line: int
    offset: int


class Demand(Struct, frozen=True, gc=False):
    """What one attempt takes from the capacity trackers: requests, tokens, and of these the input and the output."""

    requests: int
    tokens: int
    input_tokens: int = 0
    output_tokens: int = 0


class Usage(Struct, frozen=True, gc=False):
    """Tokens the provider says it processed. Zeros where it says nothing. `cached_tokens` are among the input's."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


NO_USAGE = Usage()


class RateSeen(Struct, frozen=True, gc=False):
    """What an answer's headers say of one limit, at the instant its request was admitted.

    `what` is "requests" or "tokens", or where a provider splits them "input_tokens" or "output_tokens". `reset_s` is
    when it would be full again if nothing more were sent; `window_s` is known only where the header's name, or the
    provider, tells.
    """

    what: str
    limit: int
    remaining: int
    reset_s: float | None = None
    window_s: float | None = None


class Trouble(enum.Enum):
    """How an attempt can fail before there is a whole HTTP answer."""

    CONNECT = "connection_error"  # no connection: refused, no route, no such host, TLS
    BROKEN = "connection_broken"  # the connection ended before the answer did
    TIMEOUT = "request_timeout"  # the attempt's total deadline passed
    TOO_LARGE = "response_too_large"  # the answer is over the cap


class Reply(Struct, frozen=True, gc=False):
    """What the wire brought back: an HTTP answer, or the trouble that prevented one.

    `headers` have lower-case names. `trouble` set means `status` is 0 and `body` is empty.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    trouble: Trouble | None = None
    detail: str = ""


class FaultKind(enum.Enum):
    """What a failed attempt means for what happens next."""

    RATE_LIMITED = "rate limited"  # the model's limit was hit: pause the model, never an attempt of the job
    OVERLOADED = "overloaded"  # the server has too much to do (503, 529): retry, count towards cutting
    SERVER = "server error"  # another 5xx, 408, 409: retry
    INVALID = "no answer"  # a 200 that is no answer: retry
    CONNECT = "cannot connect"  # never reached the server: not the job's fault
    BROKEN = "connection broken"  # the answer ended early: retry
    TIMEOUT = "timed out"  # repeated once at most, it may have been billed
    REJECTED = "rejected"  # this job can never pass: give it up
    TOO_LARGE = "larger than the limit"  # rejected because it needs more tokens than a whole window has
    REFUSED = "refused"  # nothing of this run can pass: stop


class Fault(Struct, frozen=True, gc=False):
    """A failed attempt, classified. `code` and `message` are the provider's own where it gave them."""

    kind: FaultKind
    code: str
    message: str
    wait_s: float | None = None  # how long the provider says to wait; None if it does not say
    daily: bool = False  # the limit that was hit is one per day
    limit: tuple[str, int] | None = None  # (what, as in RateSeen; limit of the window) read from a message
    requested: int | None = None  # the tokens the provider says the request needed
    status: int = 0
    request_id: str | None = None
    body: bytes = b""  # what came, for the failed line
    no_model: bool = False  # rejected because the provider knows no model of that name


class Answer(Struct, frozen=True, gc=False):
    """A successful attempt. `body` is valid JSON without line breaks, every token as it was sent."""

    status: int
    request_id: str | None
    body: bytes
    usage: Usage


class Result(Struct, frozen=True, gc=False):
    """How a job ended: `line` is its whole output line, with the final newline."""

    index: int
    digest: bytes
    line: bytes
    code: str | None  # error code of a failed job, None for a success
    input_line: int
    message: str = ""
    usage: Usage = NO_USAGE
    model: str = ""  # as the job names it
