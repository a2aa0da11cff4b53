"""Commands that look after the ledger: audit, republish, resync, bump-versions; added to the command line by `main`."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar
from uuid import UUID

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from booking.clients import TopicLog, TopicUnavailable
from booking.commands.running import run_use_case
from booking.domain.audits import StoredFinding
from booking.domain.errors import NotFound
from booking.service import audits, republishing
from booking.service.audits import Auditor, AuditUnfinished
from booking.service.republishing import Scope
from booking.service.writing import Deps
from contracts.topics import BOOKING_PROPERTIES, BOOKING_RESERVATIONS
from runtime.kafka import TopicWriter
from runtime.settings import KafkaSettings, load

Result = TypeVar("Result")

POOL_SIZE = 4
WAIT_POLL_S = 0.5


@click.command("audit", help="Check every property, and all events up to now; exit 1 when anything is wrong.")
@click.option("--resolve", type=int, metavar="ID", help="Close one finding by hand instead.")
@click.option("--topic", default=BOOKING_RESERVATIONS.name, show_default=True, help="The change log to compare with.")
def audit(resolve: int | None, topic: str) -> None:
    """A full pass, taking over from the worker's auditor, which goes on half a minute later."""
    if resolve is not None:
        if not run_use_case(lambda deps: audits.resolve(deps.pool, resolve)):
            raise click.ClickException(f"There is no open finding {resolve}.")
        click.echo(f"finding {resolve} is resolved")
        return
    settings = load(KafkaSettings)

    async def full_pass(deps: Deps) -> list[StoredFinding]:
        topic_log = TopicLog(settings.kafka_bootstrap_servers, topic, settings.kafka_partitions)
        auditor = Auditor(deps.pool, topic_log, topic)
        try:
            return await auditor.full_pass()
        finally:
            await auditor.close()

    try:
        findings = run_use_case(full_pass)
    except (AuditUnfinished, TopicUnavailable) as error:
        raise click.ClickException(f"{type(error).__doc__} {error}") from error
    if not findings:
        click.echo("no findings: I1, I8 and I10 hold")
        return
    Console(width=160).print(_table(findings))
    raise SystemExit(1)


@click.command("republish", help="Publish snapshots to booking.properties.v1 again.")
@click.option("--property", "property_id", type=click.UUID, help="Of one property.")
@click.option("--agency", "agency_id", type=click.UUID, help="Of one agency's properties.")
@click.option("--all", "is_all", is_flag=True, help="Of every property, as for a new, empty topic.")
@click.option("--wait", is_flag=True, help="Until a running worker has published them.")
@click.option("--forget-unknown", is_flag=True, help="After a restore: delete what the ledger lacks (with --all).")
@click.option("--timeout-s", type=float, default=600.0, show_default=True, help="How long to wait.")
def republish(
    property_id: UUID | None, agency_id: UUID | None, is_all: bool, wait: bool, forget_unknown: bool, timeout_s: float
) -> None:
    """The snapshot worker publishes; this only has it begin again."""
    if [property_id is not None, agency_id is not None, is_all].count(True) != 1:
        raise click.UsageError("Name one of --property, --agency and --all.")
    if forget_unknown and not is_all:
        raise click.UsageError("--forget-unknown reads the whole topic: add --all.")
    if forget_unknown:
        click.echo(f"{_forget_unknown()} unknown keys deleted from {BOOKING_PROPERTIES.name}")
    scope = Scope(property_id, agency_id)

    async def run(deps: Deps) -> tuple[int, int]:
        count, requested_at = 0, None
        async for batch in republishing.republish(deps, scope):
            count, requested_at = count + batch.count, batch.at
        if not wait or requested_at is None:
            return count, 0
        with _progress("published", count) as advance_to:
            deadline = asyncio.get_running_loop().time() + timeout_s
            while waiting := await republishing.count_waiting(deps, scope, requested_at):
                advance_to(count - waiting)
                if asyncio.get_running_loop().time() > deadline:
                    break
                await asyncio.sleep(WAIT_POLL_S)
            advance_to(count - waiting)
        return count, waiting

    count, waiting = run_use_case(run)
    if not count and not is_all:
        raise click.ClickException("There is no such property." if property_id else "The agency has no properties.")
    if waiting:
        raise click.ClickException(f"{waiting} of {count} snapshots were not published in time: is a worker running?")
    click.echo(f"{count} snapshots {'published' if wait else 'will be published by the worker'}")


def _forget_unknown() -> int:
    settings = load(KafkaSettings)

    async def run(deps: Deps) -> int:
        topic_log = TopicLog(settings.kafka_bootstrap_servers, BOOKING_PROPERTIES.name, settings.kafka_partitions)
        writer = TopicWriter(settings.kafka_bootstrap_servers)

        async def send(partition: int, key: bytes, value: bytes | None) -> None:
            await writer.send(BOOKING_PROPERTIES.name, partition, key, value)

        try:
            return sum([count async for count in republishing.forget_unknown(deps, topic_log, send)])
        finally:
            await topic_log.close()
            await writer.close()

    try:
        return run_use_case(run)
    except (republishing.EmptyLedger, TopicUnavailable) as error:
        raise click.ClickException(f"{type(error).__doc__} {error}") from error


@click.command("resync", help="Let the events of a property flow again whose oldest one cannot be sent.")
@click.option("--property", "property_id", type=click.UUID, required=True, help="The property the relay quarantined.")
def resync(property_id: UUID) -> None:
    """Gives the unsendable events up and has the property's snapshot published."""
    try:
        given_up = run_use_case(lambda deps: republishing.resync(deps, property_id))
    except NotFound as error:
        raise click.ClickException(str(error)) from error
    for event in given_up:
        click.echo(f"given up: version {event.version}, {event.type}: {event.reason}")
    click.echo(f"{len(given_up)} events given up, 1 snapshot will be published by the worker")


@click.command("bump-versions", help="After a restore: let every version jump, so that consumers start anew.")
@click.option("--yes", is_flag=True, help="Do it: every consumer will replace all it holds.")
def bump_versions(yes: bool) -> None:
    """No event is written; every snapshot is published again afterwards."""
    if not yes:
        raise click.UsageError("Every consumer will replace all it holds. Add --yes if the database was restored.")

    async def run(deps: Deps) -> tuple[int, int]:
        bumped = 0
        with _progress("versions", await republishing.count_properties(deps)) as advance_to:
            async for count in republishing.bump_versions(deps):
                bumped += count
                advance_to(bumped)
        published = 0
        async for batch in republishing.republish(deps, Scope()):
            published += batch.count
        return bumped, published

    bumped, published = run_use_case(run)
    click.echo(f"{bumped} versions bumped, {published} snapshots will be published by the worker")


LEDGER_COMMANDS: tuple[click.Command, ...] = (audit, republish, resync, bump_versions)


@contextmanager
def _progress(words: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on the error stream, so that the summary alone is the output."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(words, total=total)
        yield lambda done: progress.update(task, completed=done)


def _table(findings: list[StoredFinding]) -> Table:
    table = Table("id", "invariant", "kind", "property", "detail", "found at")
    for finding in findings:
        detail = ", ".join(f"{name} {value}" for name, value in finding.detail.items())
        found_at = finding.found_at.isoformat(timespec="seconds")
        table.add_row(
            str(finding.id), finding.invariant, finding.kind, str(finding.property_id or ""), detail, found_at
        )
    return table
