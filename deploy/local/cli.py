"""Owns the commands of `python -m deploy.local`, which the Makefile calls: parse, call one function, say it plainly."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click

from deploy.local.follow import follow
from deploy.local.jars import CONNECT, KAFKA, DownloadRefused, class_path, write_lock
from deploy.local.journey import guided_journey
from deploy.local.places import CACHE_DIR, RUN_DIR, remove_run_dir
from deploy.local.ports import PortTaken
from deploy.local.postgres import NoPostgres
from deploy.local.process_state import AlreadyRunning
from deploy.local.provision import database_urls
from deploy.local.run import prepared_suite, run_suite, stop_run, supervised
from deploy.local.schema import write_schema
from deploy.local.secrets_file import load_secrets
from deploy.local.seed import AGENCY_ID, SeedRefused, seed
from deploy.local.services import GATEWAY, Ports, Suite
from deploy.local.stack import StackMisconfigured
from deploy.local.steps import StepFailed, Steps
from deploy.local.supervisor import ProcessFailed, child_environment
from runtime.kafka import WrongPartitionCount

EXPECTED = (
    AlreadyRunning, DownloadRefused, NoPostgres, PortTaken, ProcessFailed, SeedRefused, StackMisconfigured, StepFailed,
    TimeoutError, WrongPartitionCount,
)  # fmt: skip


@click.group()
@click.option("--run-dir", type=click.Path(path_type=Path), default=RUN_DIR, help="Data, logs and secrets of this run.")
@click.pass_context
def main(context: click.Context, run_dir: Path) -> None:
    """The whole suite on this machine, with a real PostgreSQL and a real Kafka."""
    context.obj = run_dir.resolve()


@main.command()
@click.pass_obj
def run(run_dir: Path) -> None:
    """Start everything, walk the guided journey, serve until Ctrl-C (ONCE=1 in the environment: end after it)."""
    with _plain_messages(run_dir):
        run_suite(run_dir, os.environ, guided_journey, once=os.environ.get("ONCE", "") not in ("", "0"))


@main.command()
@click.pass_obj
def stop(run_dir: Path) -> None:
    """Stop the run, and what a killed run left behind."""
    with _plain_messages(run_dir):
        for name in stop_run(run_dir) or ["nothing: nothing was running"]:
            click.echo(f"stopped {name}")


@main.command()
@click.pass_obj
def clean(run_dir: Path) -> None:
    """Stop the run and delete its data, logs and secrets (not the downloads)."""
    with _plain_messages(run_dir):
        stop_run(run_dir)
        remove_run_dir(run_dir)
        click.echo(f"removed {run_dir}")


@main.command()
@click.pass_obj
def migrate(run_dir: Path) -> None:
    """Bring the databases up to date without starting the services."""
    with (
        _plain_messages(run_dir),
        supervised(run_dir) as supervisor,
        prepared_suite(supervisor, os.environ, Steps(run_dir / "migrate.json")),
    ):
        click.echo("the databases are up to date")


@main.command()
def schema() -> None:
    """Write each service's schema.sql from its migrations, applied to new databases."""
    with (
        tempfile.TemporaryDirectory(prefix="pms-schema-") as folder,
        _plain_messages(RUN_DIR),
        supervised(Path(folder)) as supervisor,
        prepared_suite(supervisor, os.environ, Steps(Path(folder) / "schema.json")) as suite,
    ):
        for service, dsn in suite.databases.owners().items():
            click.echo(f"wrote {write_schema(service, dsn)}")


@main.command()
@click.option("--agency", required=True, help="The agency's id (a UUID).")
@click.option("--roles", default="", help="Comma-separated roles.")
@click.pass_obj
def token(run_dir: Path, agency: str, roles: str) -> None:
    """Print a token for local use, signed with this run's secret."""
    click.echo(_token(run_dir, agency, roles))


@main.command("seed")
@click.pass_obj
def seed_command(run_dir: Path) -> None:
    """Put example data into the running suite."""
    with _plain_messages(run_dir):
        today = datetime.now(UTC).date()
        gateway = _suite(run_dir).url(GATEWAY)
        for line in seed(gateway, _token(run_dir, AGENCY_ID, ""), today):
            click.echo(line)
        click.echo(f"agency {AGENCY_ID}: make token AGENCY={AGENCY_ID}")


@main.command()
@click.argument("name", required=False)
@click.option("--follow/--no-follow", "forever", default=True, help="Go on with new lines until Ctrl-C.")
@click.pass_obj
def logs(run_dir: Path, name: str | None, forever: bool) -> None:
    """Show the processes' logs, all or one."""
    for line in follow(run_dir / "logs", name or None, forever=forever):
        click.echo(line)


@main.command()
def download() -> None:
    """Fetch what the embedded stack needs, unless it is there."""
    with _plain_messages(RUN_DIR):
        for jars in (KAFKA, CONNECT):
            class_path(CACHE_DIR, jars)


@main.command()
def lock() -> None:
    """Resolve the jars of Kafka and Kafka Connect anew and write their lists with hashes."""
    for jars in (KAFKA, CONNECT):
        click.echo(f"locked {write_lock(CACHE_DIR, jars)} jars of {jars.name}")


@contextmanager
def _plain_messages(run_dir: Path) -> Iterator[None]:
    """Say what went wrong without a stack trace; the trace of anything unforeseen goes to `logs/run.log`."""
    try:
        yield
    except EXPECTED as error:
        cause = error.__cause__
        if cause is not None and not isinstance(cause, EXPECTED):
            log = run_dir / "logs" / "run.log"
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("a") as handle:
                traceback.print_exception(error, file=handle)
            click.echo(f"(details in {log})", err=True)
        raise click.ClickException(str(error)) from None


def _suite(run_dir: Path) -> Suite:
    """The suite of this folder for commands that need no stack: its addresses and secrets only."""
    secrets = load_secrets(run_dir)
    nowhere = database_urls("postgresql://127.0.0.1/", secrets)
    return Suite("127.0.0.1:9", nowhere, secrets, Ports.from_environment(os.environ))


def _token(run_dir: Path, agency: str, roles: str) -> str:
    arguments = ["token", "--agency", agency, *(["--roles", roles] if roles else [])]
    spec = _suite(run_dir).command(GATEWAY, *arguments)
    made = subprocess.run(spec.argv, env=child_environment(spec.env), stdout=subprocess.PIPE, text=True, check=False)
    if made.returncode != 0:
        sys.exit(made.returncode)
    return made.stdout.strip()
