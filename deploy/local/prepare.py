"""Owns what must be there before the services start: migrated databases and topics; called by run and the tests.

Done in this process. In production the services' own commands (`python -m booking migrate`, `python -m booking topics`)
call the same functions, but each takes seconds of a processor only to start.
"""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from contracts.topics import SERVICES as TOPIC_OWNERS
from contracts.topics import owned_by
from deploy.local.places import REPOSITORY
from deploy.local.provision import Databases, DatabaseUrls
from deploy.local.services import BOOKING, CHANNEL_SYNC, Suite
from runtime.kafka import create_topics
from runtime.migrate import FLOOR, migrate, read_migrations
from runtime.settings import KafkaSettings

MIGRATIONS = {service: REPOSITORY / f"services/{service}/migrations" for service in (BOOKING, CHANNEL_SYNC)}


async def migrate_database(service: str, urls: DatabaseUrls) -> None:
    """Bring one service's database up to date. Raises `MigrationRefused`."""
    names = {role: urlsplit(url).username or "" for role, url in (("app", urls.app), ("system", urls.system))}
    files = [*read_migrations("floor", FLOOR, names), *read_migrations(service, MIGRATIONS[service], names)]
    await migrate(urls.owner, files)


async def migrate_databases(databases: Databases) -> None:
    """Bring both databases up to date, side by side. Raises `MigrationRefused`."""
    await asyncio.gather(
        migrate_database(BOOKING, databases.booking), migrate_database(CHANNEL_SYNC, databases.channel_sync)
    )


async def create_all_topics(suite: Suite) -> None:
    """Create the missing topics of all services, dead letters included. Raises `WrongPartitionCount`."""
    settings = KafkaSettings(kafka_bootstrap_servers=suite.kafka_bootstrap, kafka_partitions=suite.kafka_partitions)
    topics = {topic.name: topic for service in TOPIC_OWNERS for topic in owned_by(service)}
    await create_topics(settings, list(topics.values()))
