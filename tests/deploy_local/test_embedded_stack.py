"""Proves that the embedded PostgreSQL and Kafka are durable, limited and restartable one by one, on their own ports."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local.places import remove_run_dir
from deploy.local.ports import is_free
from deploy.local.secrets_file import load_secrets
from deploy.local.stack import EmbeddedStack
from deploy.local.supervisor import Supervisor

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    """A stack of this module's own: its tests kill it, which other tests' services must not feel."""
    supervisor = Supervisor(tmp_path_factory.mktemp("stack") / "run")
    supervisor.open()
    stack = EmbeddedStack(supervisor, load_secrets(supervisor.run_dir).postgres_password)
    stack.start()
    yield stack
    supervisor.close()
    remove_run_dir(supervisor.run_dir)


async def topics(stack: EmbeddedStack, *new: NewTopic) -> set[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka_bootstrap)
    await admin.start()
    try:
        if new:
            await admin.create_topics(list(new))
        return set(await admin.list_topics())
    finally:
        await admin.close()


async def test_postgres_runs_with_the_settings_the_suite_counts_on(own_stack: EmbeddedStack) -> None:
    connection = await asyncpg.connect(own_stack.postgres_admin_dsn)
    wanted = {
        "fsync": "on",
        "synchronous_commit": "on",
        "max_connections": "200",
        "idle_in_transaction_session_timeout": "1min",
        "shared_preload_libraries": "pg_stat_statements",
        "listen_addresses": "127.0.0.1",
        "password_encryption": "scram-sha-256",
    }
    found = {name: await connection.fetchval("SELECT current_setting($1)", name) for name in wanted}
    await connection.close()
    assert found == wanted


async def test_a_committed_row_survives_kill_9_of_postgres_on_the_same_address(own_stack: EmbeddedStack) -> None:
    address = own_stack.postgres_admin_dsn
    connection = await asyncpg.connect(address)
    await connection.execute("CREATE TABLE kept (night date)")
    await connection.execute("INSERT INTO kept VALUES ('2030-01-01')")
    await asyncio.to_thread(own_stack.supervisor.kill, "postgres")
    with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
        await connection.fetchval("SELECT 1")
    connection.terminate()
    await asyncio.to_thread(own_stack.supervisor.restart, "postgres")
    assert own_stack.postgres_admin_dsn == address
    connection = await asyncpg.connect(address)
    assert await connection.fetchval("SELECT count(*) FROM kept") == 1
    await connection.close()


async def test_a_topic_survives_a_stop_of_kafka_and_no_topic_appears_by_itself(own_stack: EmbeddedStack) -> None:
    address = own_stack.kafka_bootstrap
    await topics(own_stack, NewTopic("kept", 3, 1))
    await asyncio.to_thread(own_stack.supervisor.stop, "kafka")
    assert is_free(int(address.rpartition(":")[2]))
    await asyncio.to_thread(own_stack.supervisor.restart, "kafka")
    assert own_stack.kafka_bootstrap == address
    assert await topics(own_stack) == {"kept"}
