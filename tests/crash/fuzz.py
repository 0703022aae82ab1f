"""A coverage-guided fuzzer over job lines and answers: `python tests/crash/fuzz.py [--seconds 300] [--seed 1]`.

It needs atheris (`pip install atheris`; no dependency of batchproc). Without it, the same paths are fed by mutation of
the nasty inputs alone. What it finds is written to a file, and printed; `--again FILE` feeds it once more.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time

if __name__ == "__main__":
    sys.path[1:1] = [os.path.join(os.path.dirname(sys.path[0]), name) for name in ("e2e", "store")]

try:
    import atheris
except ImportError:
    atheris = None

if atheris is not None:
    with atheris.instrument_imports(include=["batchproc"]):
        from hostile import feed_answer, feed_line
else:
    from hostile import feed_answer, feed_line

STATUS = (200, 201, 400, 401, 404, 413, 422, 429, 500, 503, 529)
SEEDS = (
    b'\x00{"model":"m","messages":[{"role":"user","content":"hi"}]}',
    b'\x00{"custom_id":"a","method":"POST","url":"/v1/embeddings","body":{"model":"m","input":"x"},"metadata":{"a":1}}',
    b'\x01{"id":"c","choices":[{"message":{"content":"\\ud83d\\ude00"}}],"usage":{"prompt_tokens":3}}',
    b'\x03{"error":{"message":"Rate limit reached: Limit 3, Requested 5. Please try again in 1s.","code":"x"}}',
    b'\x08{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
    b"\x01" + b"[" * 200 + b"\xff\xe2\x80\xa8\x00NaN1e999" + b"]" * 200,
)
WORDS = (b"NaN", b"\\ud800", b"\xe2\x80\xa8", b"\x00", b"{", b"}", b'"', b"\\", b"1e999", b"-1", b"null", b',"error":1')


def feed(data: bytes) -> None:
    """The first byte says what the others are: a line (0), or an answer with that status."""
    if not data:
        return
    kind, rest = data[0], data[1:]
    if kind % 12 == 0:
        feed_line(rest.replace(b"\n", b" "))
    else:
        feed_answer(rest, STATUS[kind % 12 - 1], {})


def mutated(rng: random.Random, seed: bytes) -> bytes:
    """An input with a few bytes cut, doubled, replaced, or a word put in."""
    data = bytearray(seed)
    for _ in range(rng.randrange(1, 8)):
        at = rng.randrange(len(data) + 1)
        change = rng.random()
        if change < 0.4:
            data[at:at] = rng.choice(WORDS)
        elif change < 0.6:
            del data[at : at + rng.randrange(1, 9)]
        elif change < 0.8:
            data[at : at + 1] = rng.randbytes(1)
        else:
            data[at:at] = data[at : at + rng.randrange(40)]
    return bytes(data)


def without_atheris(seconds: float, seed: int) -> None:
    """Feed mutations for so long. Raises whatever they cause, after having kept them."""
    rng = random.Random(seed)
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        data = mutated(rng, rng.choice(SEEDS))
        try:
            feed(data)
        except BaseException:
            with open(f"fuzz-{seed}-{count}", "wb") as f:
                f.write(data)
            print(f"found: {data!r}\nagain: python tests/crash/fuzz.py --again fuzz-{seed}-{count}")
            raise
        count += 1
    print(f"seed {seed}: {count:,} inputs in {seconds:g} s, no crash")


def with_atheris(seconds: float, seed: int) -> None:
    """Begin with the seeds; half of all changes are ours, as bytes alone seldom make another JSON document."""

    def change(data: bytes, max_size: int, number: int) -> bytes:
        rng = random.Random(number)
        return mutated(rng, data)[:max_size] if rng.random() < 0.5 else atheris.Mutate(data, len(data))

    with tempfile.TemporaryDirectory() as corpus:
        for n, data in enumerate(SEEDS):
            with open(os.path.join(corpus, str(n)), "wb") as f:
                f.write(data)
        words = [sys.argv[0], f"-max_total_time={seconds:.0f}", f"-seed={seed}", "-max_len=4096", corpus]
        atheris.Setup(words, feed, custom_mutator=change)
        atheris.Fuzz()


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--again", metavar="FILE", help="feed one input")
    options = parser.parse_args()
    if options.again:
        with open(options.again, "rb") as f:
            feed(f.read())
    elif atheris is None:
        without_atheris(options.seconds, options.seed)
    else:
        with_atheris(options.seconds, options.seed)


if __name__ == "__main__":
    main()
