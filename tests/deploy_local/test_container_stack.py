"""Proves the stack in containers, where a container engine runs."""

from __future__ import annotations

import asyncio
import shutil
import subprocess

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient

from deploy.local.stack import ContainerStack

pytestmark = pytest.mark.containers


def engine_answers() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=30).returncode == 0


@pytest.mark.timeout(600)
async def test_containers_serve_the_same_interface_as_the_embedded_stack() -> None:
    if not engine_answers():
        pytest.skip("no container engine answers; start Docker or Podman, then `make test`")
    stack = ContainerStack()
    try:
        await asyncio.to_thread(stack.start)
        connection = await asyncpg.connect(stack.postgres_admin_dsn)
        assert str(await connection.fetchval("SHOW server_version")).startswith("18")
        await connection.close()
        admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka_bootstrap)
        await admin.start()
        assert await admin.list_topics() == []
        await admin.close()
    finally:
        await asyncio.to_thread(stack.stop)
