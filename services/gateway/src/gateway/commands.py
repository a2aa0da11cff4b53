"""The gateway's own command line verbs: `token` for local use; added to the command line by `main`."""

from collections.abc import Iterable
from uuid import UUID

import click

from runtime.tokens import MIN_SECRET_BYTES, issue_token


@click.command("token", help="Print a bearer token that lives five minutes, signed with JWT_SECRET.")
@click.option("--agency", required=True, type=click.UUID, help="The agency the token speaks for.")
@click.option("--roles", default="", metavar="A,B", help="Comma-separated roles.")
@click.option("--subject", default="local", show_default=True, help="Who the token is for.")
@click.option("--secret", envvar="JWT_SECRET", default="", hidden=True)
def token(agency: UUID, roles: str, subject: str, secret: str) -> None:
    """Print one token and nothing else; a wrong argument or secret exits with 2 and says why."""
    if len(secret.encode()) < MIN_SECRET_BYTES:
        raise click.UsageError(f"Set JWT_SECRET to the secret of the services, at least {MIN_SECRET_BYTES} bytes.")
    click.echo(issue_token(secret, subject=subject, agency_id=agency, roles=_names(roles)))


def _names(roles: str) -> Iterable[str]:
    return [role.strip() for role in roles.split(",") if role.strip()]
