"""Owns the load generator, a process of its own: `python -m tests.bench.loadgen`, a `Load` as JSON in, a `Result` out.

Raw sockets, because a client library would cost as much as the server under test. Closed loop: each connection sends
its next request when the last was answered. Open loop: requests have intended start times drawn beforehand and are
timed from those, whether or not a connection was free, so that a stalled server cannot hide its stall.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import cast
from uuid import UUID

import httptools
import orjson
import uvloop

from deploy.local.places import REPOSITORY
from tests.bench.traffic import Build, booking_requests, reading_requests

DRAIN_S = 40.0
SAMPLES = 3
CREATED = 201


@dataclass(frozen=True)
class Load:
    """What to send: to which (host, port) pairs, over how many connections, for how long; `rate` > 0 is open loop.

    Bookings of `path`, or with `reads` the GETs of these paths by a user of `agency`.
    """

    targets: list[tuple[str, int]]
    path: str
    connections: int
    warmup_s: float
    seconds: float
    properties: int
    jwt_secret: str = field(repr=False)
    seed: int
    with_key: bool = True
    rate: float = 0.0
    keeps_created: bool = False
    reads: list[str] = field(default_factory=list)
    agency: str = ""


Created = tuple[str, int, float]
"""A 201: property, inventory version, and when it arrived by the monotonic clock, which all processes share."""


@dataclass(frozen=True)
class Result:
    """What came back. `statuses` counts the measured window, `whole` everything from the first request to the last.

    Latencies in ms by percentile, of all answers in the window; `lost` requests got no answer; `cpu_share` is this
    process's share of one core; `late_ms` is the p99 delay of the generator itself against the intended times;
    `created` are the window's bookings, when the load wants them kept.
    """

    statuses: dict[str, int]
    whole: dict[str, int]
    seconds: float
    latency_ms: dict[str, float]
    lost: int
    cpu_share: float
    late_ms: float
    samples: list[str]
    created: list[Created] = field(default_factory=list)

    def per_second(self, *statuses: int) -> float:
        """Answers of these statuses per second of the window."""
        return sum(self.statuses.get(str(status), 0) for status in statuses) / self.seconds

    def server_errors(self) -> int:
        """Answers from 500 on, of the whole run."""
        return sum(count for status, count in self.whole.items() if int(status) >= 500)


def run_load(load: Load) -> Result:
    """Run the generator as a process and wait for it; raises `RuntimeError` with its errors."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.loadgen"],
        input=json.dumps(asdict(load)),
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the load generator failed:\n{done.stderr[-3000:]}")
    return Result(**json.loads(done.stdout))


class _Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request in flight."""

    def __init__(self, generator: _Generator) -> None:
        self._generator = generator
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body = b""
        self.due = 0.0
        self.busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def send(self, request: bytes, due: float) -> None:
        assert self._transport is not None
        self.due, self.busy, self._body = due, True, b""
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        self.busy = False
        self._generator.answered(self, status, self._body)

    def connection_lost(self, exc: Exception | None) -> None:
        self._generator.dropped(self)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class _Generator:
    def __init__(self, load: Load, build: Build) -> None:
        self._load = load
        self._build = build
        self._serial = 0
        self._statuses: Counter[int] = Counter()
        self._whole: Counter[int] = Counter()
        self._latencies: list[float] = []
        self._lateness: list[float] = [0.0]
        self._samples: list[str] = []
        self._created: list[tuple[bytes, float]] = []
        self._lost = 0
        self._idle: deque[_Connection] = deque()
        self._waiting: deque[float] = deque()
        self._from = self._until = 0.0
        self._open = True

    async def run(self) -> Result:
        load, loop = self._load, asyncio.get_running_loop()
        connections = []
        for number in range(load.connections):
            host, port = load.targets[number % len(load.targets)]
            connections.append((await loop.create_connection(lambda: _Connection(self), host, port))[1])
        began = time.perf_counter()
        self._from = began + load.warmup_s
        self._until = self._from + load.seconds
        if load.rate:
            self._idle.extend(connections)
            pacing = asyncio.create_task(self._pace(began))
        else:
            pacing = None
            for connection in connections:
                self._next(connection, time.perf_counter())
        await asyncio.sleep(self._from - time.perf_counter())
        used = _cpu_s()
        await asyncio.sleep(self._until - time.perf_counter())
        used = _cpu_s() - used
        if pacing is not None:
            await pacing
        await self._drain(connections)
        return self._result(used)

    def answered(self, connection: _Connection, status: int, body: bytes) -> None:
        now = time.perf_counter()
        self._whole[status] += 1
        # Open loop: by intended start, so that a slow answer to a request of the window counts however late it comes.
        moment = connection.due if self._load.rate else now
        if self._from <= moment < self._until:
            self._statuses[status] += 1
            self._latencies.append(now - connection.due)
            if status == CREATED and self._load.keeps_created:
                self._created.append((body, now))
        if (status >= 500 or status in (400, 401, 404, 422)) and len(self._samples) < SAMPLES:
            self._samples.append(f"{status} {body[:300].decode(errors='replace')}")
        if not self._load.rate:
            self._next(connection, now)
        elif self._waiting:
            self._send(connection, self._waiting.popleft())
        else:
            self._idle.append(connection)

    def dropped(self, connection: _Connection) -> None:
        if self._open:
            self._lost += connection.busy
            connection.busy = False

    def _next(self, connection: _Connection, now: float) -> None:
        if now < self._until:
            self._send(connection, now)

    def _send(self, connection: _Connection, due: float) -> None:
        self._serial += 1
        connection.send(self._build(self._serial), due)

    async def _pace(self, began: float) -> None:
        """Hand out requests at their intended times: Poisson arrivals at the load's rate."""
        gaps = random.Random(self._load.seed)
        due = began
        while (due := due + gaps.expovariate(self._load.rate)) < self._until:
            if (ahead := due - time.perf_counter()) > 0:
                await asyncio.sleep(ahead)
            self._lateness.append(time.perf_counter() - due)
            if self._idle:
                self._send(self._idle.popleft(), due)
            else:
                self._waiting.append(due)

    async def _drain(self, connections: list[_Connection]) -> None:
        deadline = time.perf_counter() + DRAIN_S
        while (self._waiting or any(each.busy for each in connections)) and time.perf_counter() < deadline:  # noqa: ASYNC110 - measured already
            await asyncio.sleep(0.01)
        self._lost += len(self._waiting) + sum(each.busy for each in connections)
        self._open = False
        for connection in connections:
            connection.close()

    def _result(self, used: float) -> Result:
        ordered = sorted(self._latencies) or [float("nan")]
        late = sorted(self._lateness)
        return Result(
            statuses={str(status): count for status, count in self._statuses.items()},
            whole={str(status): count for status, count in self._whole.items()},
            seconds=self._load.seconds,
            latency_ms={
                name: percentile(ordered, share) * 1000 for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1))
            },
            lost=self._lost,
            cpu_share=used / self._load.seconds,
            late_ms=percentile(late, 0.99) * 1000,
            samples=self._samples,
            created=[_created(body, now) for body, now in self._created],
        )


def _created(body: bytes, now: float) -> Created:
    booking = orjson.loads(body)
    return booking["property_id"], booking["inventory_version"], now


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which this share of sorted values lies."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _requests(load: Load) -> Build:
    if load.reads:
        return reading_requests(load.reads, UUID(load.agency), load.jwt_secret)
    return booking_requests(
        path=load.path,
        properties=load.properties,
        jwt_secret=load.jwt_secret,
        with_key=load.with_key,
        seed=load.seed,
    )


def main() -> None:
    """Read the load from standard input, run it, write the result to standard output."""
    load = Load(**json.load(sys.stdin))
    result = uvloop.run(_Generator(load, _requests(load)).run())
    json.dump(asdict(result), sys.stdout)


if __name__ == "__main__":
    main()
