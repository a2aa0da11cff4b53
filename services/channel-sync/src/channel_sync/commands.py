"""Owns channel-sync's own command line verbs; `main` gives `COMMANDS` to the runtime."""

import asyncio

import click
from pydantic import SecretStr

from channel_sync.service.connections import rotate_secrets
from channel_sync.service.deps import Cipher
from runtime.postgres import create_pool
from runtime.settings import PostgresSettings, load

POOL_SIZE = 2


class _RotationSettings(PostgresSettings):
    credentials_key: SecretStr


@click.command("rotate-credentials", help="Seal every connection's secret with the first key of CREDENTIALS_KEY.")
def rotate_credentials() -> None:
    """Put the new key first and keep the old one behind it; once this has run, only requests of the last day that are
    repeated under their Idempotency-Key still need the old one.
    """
    settings = load(_RotationSettings)
    try:
        cipher = Cipher(settings.credentials_key.get_secret_value())
    except ValueError as error:
        raise click.ClickException("CREDENTIALS_KEY must hold Fernet keys, separated by commas") from error
    count = asyncio.run(_rotate(settings.system_database_url.get_secret_value(), cipher))
    click.echo(f"{count} secrets are sealed with the first key")


async def _rotate(dsn: str, cipher: Cipher) -> int:
    pool = await create_pool(dsn, size=POOL_SIZE, application_name="channel-sync-command")
    try:
        return await rotate_secrets(pool, cipher)
    finally:
        await pool.close()


COMMANDS = (rotate_credentials,)
