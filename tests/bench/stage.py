"""Owns where a benchmark plays: copies of a seeded database, and the processes of product and peers; made by conftest.

Every measured run gets a fresh copy of the same seeded database and fresh processes, so that no run starts on what an
earlier one left: each of floor, peer and product sees the same sizes. Safety is switched off in such copies only.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import asyncpg
import psutil
from aiokafka.admin import AIOKafkaAdminClient

from contracts.topics import BOOKING_PROPERTIES, BOOKING_RESERVATIONS, Topic
from deploy.local.places import REPOSITORY
from deploy.local.ports import HOST, free_port
from deploy.local.postgres import POSTGRES, find_binaries
from deploy.local.prepare import create_all_topics, migrate_databases
from deploy.local.provision import Databases, DatabaseUrls, in_database, provision
from deploy.local.secrets_file import load_secrets
from deploy.local.services import AVAILABILITY, BOOKING, Suite, http_ready
from deploy.local.stack import EmbeddedStack
from deploy.local.supervisor import ProcessSpec, Supervisor
from runtime.kafka import create_topics
from runtime.settings import KafkaSettings
from tests.bench.effort import MANY_RANGES, PROPERTIES
from tests.bench.peers import monolith
from tests.bench.seed import PARTITIONS, multiply_ranges, seed_ledger

LEDGER = "pms_booking"
"""The migrated database with PROPERTIES properties and as many ranges; copied, never worked on."""
LARGE_LEDGER = "bench_large_ledger"
PEER = "bench_peer"
OUTBOX = "bench_outbox"
EMPTY = "bench_empty"
PEER_BUFFERS = "4GB"
SNAPSHOT_PATH = "SNAPSHOT_PATH"
REPLICA_READY_S = 3600.0
REPLICA_STOP_S = 300.0
"""A replica writes its snapshot file before it ends."""
_IMPORTS = {"PYTHONPATH": str(REPOSITORY)}


@dataclass(frozen=True)
class Pgbench:
    """What pgbench did: how many transactions, and how many per second without the time to connect."""

    transactions: int
    per_second: float


@dataclass(frozen=True)
class Replica:
    """A running replica: its port, the monotonic second it was started at, its process id."""

    port: int
    started: float
    pid: int


class Stage:
    """One PostgreSQL and one Kafka, and what is run on them. All calls block."""

    def __init__(self, supervisor: Supervisor, stack: EmbeddedStack) -> None:
        self.supervisor = supervisor
        self._stack = stack
        secrets = load_secrets(supervisor.run_dir)
        databases = asyncio.run(provision(stack.postgres_admin_dsn, secrets, exclusive=False))
        self._suite = Suite(stack.kafka_bootstrap, databases, secrets)
        self._made: set[str] = set()
        asyncio.run(migrate_databases(databases))
        asyncio.run(create_all_topics(self._suite))
        self._copies = 0

    @property
    def jwt_secret(self) -> str:
        """What signs the tokens of the load."""
        return self._suite.secrets.jwt_secret

    @property
    def kafka_bootstrap(self) -> str:
        """host:port of Kafka."""
        return self._stack.kafka_bootstrap

    def ledger(self) -> str:
        """The name of the seeded ledger, made at the first call."""
        if LEDGER not in self._made:
            self._copy(LEDGER, OUTBOX)
            with self.product(LEDGER) as (target,):
                asyncio.run(seed_ledger(self.admin(LEDGER), f"http://{HOST}:{target[1]}", self.jwt_secret, PROPERTIES))
            self._made.add(LEDGER)
        return LEDGER

    def large_ledger(self) -> str:
        """The name of a ledger with MANY_RANGES ranges per property."""
        if LARGE_LEDGER not in self._made:
            self._copy(self.ledger(), LARGE_LEDGER)
            asyncio.run(multiply_ranges(self.admin(LARGE_LEDGER), PROPERTIES, range(1, MANY_RANGES)))
            self._made.add(LARGE_LEDGER)
        return LARGE_LEDGER

    def peer_ledger(self) -> str:
        """The name of the peer's seeded database."""
        if PEER not in self._made:
            asyncio.run(_execute(self._stack.postgres_admin_dsn, f"CREATE DATABASE {PEER}"))
            asyncio.run(monolith.create_tables(self.peer_url(PEER), PROPERTIES))
            asyncio.run(_execute(self.admin(PEER), "VACUUM ANALYZE"))
            self._made.add(PEER)
        return PEER

    @contextmanager
    def copy(self, source: str, *changes: str) -> Iterator[str]:
        """The name of a fresh copy of a database, changed by these statements; dropped at the end."""
        self._copies += 1
        name = f"bench_copy_{self._copies}"
        self._copy(source, name)
        for statement in changes:
            asyncio.run(_execute(self.admin(name), statement))
        asyncio.run(_execute(self._stack.postgres_admin_dsn, "CHECKPOINT"))
        try:
            yield name
        finally:
            asyncio.run(_execute(self._stack.postgres_admin_dsn, f"DROP DATABASE {name} WITH (FORCE)"))

    @contextmanager
    def product(
        self, database: str, processes: int = 1, env: Mapping[str, str] | None = None
    ) -> Iterator[list[tuple[str, int]]]:
        """Booking's api processes on a database; their (host, port) pairs."""
        suite = self._suite_on(database)
        specs = [
            suite.process(
                BOOKING, "api", name=f"booking-api-{number}", port=free_port(), env={**_IMPORTS, **(env or {})}
            )
            for number in range(processes)
        ]
        with self._running(specs):
            yield [(HOST, int(spec.env["PORT"])) for spec in specs]

    @contextmanager
    def booking(self, database: str, role: str = "serve", port: int = 0) -> Iterator[tuple[str, int]]:
        """Booking in one process on a database, whole or in one role; its (host, port) pair."""
        spec = self._suite_on(database).process(BOOKING, role, port=port or free_port(), env=_IMPORTS)
        with self._running([spec]):
            yield HOST, int(spec.env["PORT"])

    @contextmanager
    def replica(
        self, booking_port: int, env: Mapping[str, str] | None = None, snapshot: Path | None = None
    ) -> Iterator[Replica]:
        """Availability, watched (`tests.bench.replica`), beside a booking; given out once it is ready.

        It keeps a snapshot file only when it is told where.
        """
        usual = self._suite.process(AVAILABILITY, port=free_port())
        kept = {name: value for name, value in usual.env.items() if name != SNAPSHOT_PATH}
        given = {"BOOKING_URL": f"http://{HOST}:{booking_port}", **({SNAPSHOT_PATH: str(snapshot)} if snapshot else {})}
        spec = replace(
            usual,
            argv=(sys.executable, "-P", "-m", "tests.bench.replica", "serve"),
            env={**kept, **_IMPORTS, **given, **(env or {})},
            ready_timeout_s=REPLICA_READY_S,
            stop_timeout_s=REPLICA_STOP_S,
        )
        started = time.monotonic()
        with self._running([spec]):
            yield Replica(int(spec.env["PORT"]), started, self.supervisor.pid(spec.name))

    @contextmanager
    def larger_postgres(self) -> Iterator[None]:
        """PostgreSQL started again with room for a peer's tables in its own memory, and as it was at the end."""
        usual = self.supervisor.spec(POSTGRES)
        larger = replace(usual, argv=(*usual.argv, "-c", f"shared_buffers={PEER_BUFFERS}"))
        try:
            self.supervisor.stop(POSTGRES)
            self.supervisor.start(larger)
            yield
        finally:
            self.supervisor.stop(POSTGRES)
            self.supervisor.start(usual)

    @contextmanager
    def empty_database(self) -> Iterator[str]:
        """The administrator's address of a database of its own without tables."""
        asyncio.run(_execute(self._stack.postgres_admin_dsn, f"CREATE DATABASE {EMPTY}"))
        try:
            yield self.admin(EMPTY)
        finally:
            asyncio.run(_execute(self._stack.postgres_admin_dsn, f"DROP DATABASE {EMPTY} WITH (FORCE)"))

    def empty_topics(self) -> None:
        """Make booking's two topics anew: what an earlier run left is of another ledger."""
        asyncio.run(_make_anew(self.kafka_bootstrap, (BOOKING_RESERVATIONS, BOOKING_PROPERTIES)))

    @contextmanager
    def relay(self, database: str) -> Iterator[None]:
        """Booking's relay process on a database."""
        spec = self._suite_on(database).process(BOOKING, "relay", port=free_port())
        with self._running([spec]):
            yield

    @contextmanager
    def peer(self, database: str, workers: int) -> Iterator[list[tuple[str, int]]]:
        """The peer monolith on a copy of its database; its (host, port) pair."""
        port = free_port()
        # No access log: the product's log line is part of it, the peer is spared its own.
        options = ("--workers", str(workers), "--no-access-log", "--log-level", "warning")
        spec = ProcessSpec(
            name="peer",
            argv=(sys.executable, "-m", "uvicorn", "tests.bench.peers.monolith:app", "--port", str(port), *options),
            env={**_IMPORTS, "PEER_DATABASE_URL": self.peer_url(database)},
            ready=http_ready(f"http://{HOST}:{port}/health"),
        )
        with self._running([spec]):
            yield [(HOST, port)]

    def relay_peer(self, database: str) -> ProcessSpec:
        """How to run the plain relay loop on a database."""
        return ProcessSpec(
            name="relay-peer",
            argv=(
                sys.executable,
                "-m",
                "tests.bench.peers.relay_loop",
                self.urls(database).system,
                self.kafka_bootstrap,
            ),
            env=_IMPORTS,
        )

    @contextmanager
    def _running(self, specs: Sequence[ProcessSpec]) -> Iterator[None]:
        try:
            for spec in specs:
                self.supervisor.start(spec, wait=False)
            self.supervisor.wait_ready(*(spec.name for spec in specs))
            yield
            self.supervisor.check()
        finally:
            for spec in specs:
                self.supervisor.stop(spec.name)

    def pgbench(
        self, database: str, script: str, clients: int, seconds: float, variables: Mapping[str, int]
    ) -> Pgbench:
        """Run a script of `tests/bench/sql` as the application role for that long."""
        defined = [part for name, value in variables.items() for part in ("-D", f"{name}={value}")]
        done = subprocess.run(
            [
                str(find_binaries(None) / "pgbench"), "-n", "-M", "prepared", "-c", str(clients), "-j", "2",
                "-T", str(max(1, round(seconds))), "-f", str(REPOSITORY / "tests/bench/sql" / script), *defined,
                self.urls(database).app,
            ],
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
        found = re.search(r"transactions actually processed: (\d+)", done.stdout)
        rate = re.search(r"tps = ([0-9.]+) \(without", done.stdout)
        failed = re.search(r"failed transactions: (\d+)", done.stdout)
        if done.returncode != 0 or found is None or rate is None or (failed is not None and failed[1] != "0"):
            raise RuntimeError(f"pgbench failed:\n{done.stdout}{done.stderr[-3000:]}")
        return Pgbench(int(found[1]), float(rate[1]))

    def cpu_s(self, name: str) -> float:
        """Seconds of processor that a running process and its descendants have used; ended children do not count."""
        process = psutil.Process(self.supervisor.pid(name))
        family = [process, *process.children(recursive=True)]
        return sum(used.user + used.system for used in (each.cpu_times() for each in family))

    def sql(self, database: str, statement: str, *arguments: Any) -> Any:
        """The first value of a statement, run as administrator."""
        return asyncio.run(_value(self.admin(database), statement, *arguments))

    def admin(self, database: str) -> str:
        """The administrator's address of a database."""
        return in_database(self._stack.postgres_admin_dsn, database)

    def peer_url(self, database: str) -> str:
        """The administrator's address of a database for SQLAlchemy: the peer has no roles and no row security."""
        return self.admin(database).replace("postgresql://", "postgresql+asyncpg://", 1)

    def urls(self, database: str) -> DatabaseUrls:
        """The addresses of a copy of booking's database by role."""
        return self._suite.databases.booking.moved_to(database)

    def _suite_on(self, database: str) -> Suite:
        databases = Databases(booking=self.urls(database), channel_sync=self._suite.databases.channel_sync)
        return replace(self._suite, databases=databases)

    def _copy(self, source: str, name: str) -> None:
        # FILE_COPY: the default would write the whole copy to the log, which the next measurement would pay for.
        statement = f"CREATE DATABASE {name} TEMPLATE {source} STRATEGY file_copy"
        asyncio.run(_execute(self._stack.postgres_admin_dsn, statement))


async def _make_anew(bootstrap: str, topics: Sequence[Topic]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        names = {topic.name for topic in topics}
        await admin.delete_topics(list(names))
        while names & set(await admin.list_topics()):  # noqa: ASYNC110 - Kafka tells nobody
            await asyncio.sleep(0.1)
    finally:
        await admin.close()
    # What is sent to a topic of this name while the broker still deletes the old one goes with it.
    await asyncio.sleep(1.0)
    settings = KafkaSettings(kafka_bootstrap_servers=bootstrap, kafka_partitions=PARTITIONS)
    assert set(await create_topics(settings, topics)) == names
    await asyncio.sleep(1.0)


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _value(dsn: str, statement: str, *arguments: Any) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement, *arguments)
    finally:
        await connection.close()
