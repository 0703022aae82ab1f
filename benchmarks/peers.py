"""What others do with the same jobs on the same server: scripts as people write them with packages from the registry.

Kept out of CI. Install the peers into any environment and name its Python:

    python -m venv /tmp/peers && /tmp/peers/bin/pip install openai aiolimiter aiohttp async-batch-llm litellm
    python peers.py --python /tmp/peers/bin/python [--quick]

(openlimit 0.3.0 was looked at too: it downloads rank files when it is imported, so it cannot run without a network.)
async-batch-llm keeps both limits and an artifact of the results (its checkpoint, not fsynced here), the others keep
less; none writes in order. Limits are far above what is reached. The figures are those of overhead.py: a run of N jobs
less a run of a few, best of several, 200 in flight.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

RPM, TPM = 60_000_000, 60_000_000_000
ASK = "import importlib.metadata as m, sys; print(*(f'{n} {m.version(n)}' for n in sys.argv[1:]), sep=', ')"


async def openai_aiolimiter(jobs: str, url: str, in_flight: int, out: str) -> None:
    """The official SDK, a semaphore, and aiolimiter for the requests; answers appended as they come."""
    from aiolimiter import AsyncLimiter
    from openai import AsyncOpenAI

    client = AsyncOpenAI(base_url=url, api_key="none", max_retries=5)
    limiter, places = AsyncLimiter(RPM, 60), asyncio.Semaphore(in_flight)
    with open(jobs) as lines, open(out, "w") as file:

        async def one(job: dict[str, Any]) -> None:
            async with places, limiter:
                answer = await client.chat.completions.create(**job["body"])
                file.write(json.dumps({"custom_id": job["custom_id"], "response": answer.to_dict()}) + "\n")

        await asyncio.gather(*(one(json.loads(line)) for line in lines))


async def cookbook(jobs: str, url: str, in_flight: int, out: str) -> None:
    """The pattern of OpenAI's cookbook, rewritten in short: one loop looks every millisecond whether capacity for the
    next request has come back, starts a task for it, and each task opens the file to append its answer."""
    import time

    import aiohttp

    def tokens(body: dict[str, Any]) -> int:
        text = "".join(m["content"] for m in body["messages"])
        return len(text) // 4 + int(body["max_tokens"])

    flying: set[asyncio.Task[None]] = set()
    requests, left, at = float(RPM), float(TPM), time.time()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        with open(jobs) as lines:

            async def one(job: dict[str, Any]) -> None:
                async with session.post(url + "/chat/completions", json=job["body"]) as response:
                    answer = await response.json()
                with open(out, "a") as file:
                    file.write(json.dumps([job["body"], answer]) + "\n")

            line = next(lines, None)
            while line is not None:
                now = time.time()
                requests = min(RPM, requests + RPM * (now - at) / 60)
                left = min(TPM, left + TPM * (now - at) / 60)
                at = now
                job = json.loads(line)
                need = tokens(job["body"])
                if requests >= 1 and left >= need and len(flying) < in_flight:
                    requests, left = requests - 1, left - need
                    task = asyncio.create_task(one(job))
                    flying.add(task)
                    task.add_done_callback(flying.discard)
                    line = next(lines, None)
                    await asyncio.sleep(0)
                else:
                    await asyncio.sleep(0.001)
            await asyncio.gather(*flying)


async def async_batch_llm(jobs: str, url: str, in_flight: int, out: str) -> None:
    """async-batch-llm as its README uses it: both limits, its artifact store; results taken as they come."""
    from async_batch_llm import CharacterTokenEstimator, JsonlArtifactStore, ProcessorConfig, llm, process_stream

    with open(jobs) as lines:
        read = [json.loads(line) for line in lines]
    system = read[0]["body"]["messages"][0]
    strategy = llm(
        f"openai-compatible:{read[0]['body']['model']}",
        base_url=url,
        api_key="none",
        system_instruction=system["content"],
        temperature=0.0,
        generation_config={"max_tokens": 30},
    )
    config = ProcessorConfig(
        concurrency=in_flight,
        max_queue_size=2 * in_flight,
        max_requests_per_minute=RPM,
        max_tokens_per_minute=TPM,
        token_estimator=CharacterTokenEstimator(expected_output_tokens=30),
    )
    prompts = [(job["custom_id"], job["body"]["messages"][1]["content"]) for job in read]
    Path(out).unlink(missing_ok=True)
    stream = process_stream(strategy, prompts, config=config, artifact_store=JsonlArtifactStore(out))
    count = 0
    async for result in stream:
        assert result.success, result
        count += 1
    assert count == len(read)


async def litellm_semaphore(jobs: str, url: str, in_flight: int, out: str) -> None:
    """litellm's `acompletion` and a semaphore, no limits; answers appended as they come."""
    import os

    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else its price list is downloaded
    import litellm

    litellm.suppress_debug_info = True
    places = asyncio.Semaphore(in_flight)
    with open(jobs) as lines, open(out, "w") as file:

        async def one(job: dict[str, Any]) -> None:
            async with places:
                body = job["body"]
                body["model"] = "openai/" + body["model"]
                answer = await litellm.acompletion(**body, api_base=url, api_key="none", num_retries=5)
                file.write(json.dumps({"custom_id": job["custom_id"], "response": answer.model_dump()}) + "\n")

        await asyncio.gather(*(one(json.loads(line)) for line in lines))


PEERS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "openai + aiolimiter": (openai_aiolimiter, ("openai", "aiolimiter")),
    "cookbook pattern": (cookbook, ("aiohttp",)),
    "async-batch-llm": (async_batch_llm, ("async-batch-llm", "openai")),
    "litellm + semaphore": (litellm_semaphore, ("litellm",)),
}


def compare(python: str, jobs: int, rounds: int, in_flight: int) -> None:
    """Print the table."""
    from fastserver import serving
    from machine import machine
    from overhead import FEW, command, measure, write_jobs

    with tempfile.TemporaryDirectory() as folder, serving() as (url, server):
        many, few = write_jobs(Path(folder, "many.jsonl"), jobs), write_jobs(Path(folder, "few.jsonl"), FEW)
        out = f"{folder}/results.jsonl"

        def typed(who: str, file: str) -> list[str]:
            if who == "batchproc":
                return command(who, file, url, in_flight, folder)
            return [python, __file__, "--run", who, file, url, str(in_flight), out]

        names = [asked for _, packages in PEERS.values() for asked in packages]
        said = subprocess.run([python, "-c", ASK, *dict.fromkeys(names)], capture_output=True, text=True)
        if said.returncode:
            raise SystemExit(f"the peers are not installed: {said.stderr.strip().splitlines()[-1]}")
        print(f"{machine()}; peers: {said.stdout.strip()}; server: {server}; {jobs:,} jobs, {in_flight} in flight")
        whos = ["batchproc", *PEERS]
        large: dict[str, list[tuple[float, float]]] = {who: [] for who in whos}
        small: dict[str, list[tuple[float, float]]] = {who: [] for who in whos}
        for _ in range(rounds):
            for who in whos:
                small[who].append(measure(typed(who, few), folder))
                large[who].append(measure(typed(who, many), folder))
        each = {
            who: [(min(t[i] for t in large[who]) - min(t[i] for t in small[who])) / (jobs - FEW) for i in (0, 1)]
            for who in whos
        }
        print(f"{'':<22}{'per s':>8}{'CPU µs':>8}{'batchproc: rate ×':>20}{'CPU ×':>8}")
        ours = each["batchproc"]
        for who, (wall, cpu) in each.items():
            print(f"{who:<22}{1 / wall:>8.0f}{cpu * 1e6:>8.0f}{wall / ours[0]:>20.2f}{ours[1] / cpu:>8.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--run", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        who, jobs, url, in_flight, out = given.run
        asyncio.run(PEERS[who][0](jobs, url, int(in_flight), out))
    else:
        jobs, rounds = (3000, 2) if given.quick else (10_000, 4)
        compare(given.python, given.jobs or jobs, given.rounds or rounds, 200)


if __name__ == "__main__":
    main()
