"""Commands that look after guests: reconcile; added to the command line by `main`."""

import click
from rich.console import Console
from rich.table import Table

from booking.commands.running import run_use_case
from booking.service import guests


@click.command("reconcile", help="Recount every guest's figures from their reservations; exit 1 when any differ.")
def reconcile() -> None:
    """Changes nothing: figures are written with each reservation, so a difference is a bug to be found."""
    miscounts = run_use_case(guests.reconcile)
    if not miscounts:
        click.echo("every guest's figures equal their reservations")
        return
    table = Table("agency", "guest", "figure", "stored", "counted")
    for miscount in miscounts:
        for figure, stored in miscount.stored.items():
            if stored != miscount.counted[figure]:
                counted = miscount.counted[figure]
                table.add_row(str(miscount.agency_id), str(miscount.guest_id), figure, str(stored), str(counted))
    Console(width=160).print(table)
    raise SystemExit(1)


GUEST_COMMANDS = (reconcile,)
