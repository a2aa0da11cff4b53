"""An operator's commands on accounts: `create-agency`, `invite`, `reset-password`; part of booking's command line.

Standard output carries the id or the one-time token alone, so that it can be piped; the rest goes to standard error.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

import click

from booking.commands.running import run_use_case
from booking.domain.accounts import REACH, EmailAmbiguous, EmailTaken, Grant, GrantUnfit
from booking.domain.errors import NotFound
from booking.service.accounts import operator
from booking.service.accounts.operator import Link
from runtime.postgres import Pool

Result = TypeVar("Result")

MAX_NAME, MAX_EMAIL = 200, 320


@click.command("create-agency", help="Add an agency and print its id.")
@click.option("--name", required=True, help="What people call it.")
def create_agency(name: str) -> None:
    """Print the new id."""
    cleaned = name.strip()
    if not 1 <= len(cleaned) <= MAX_NAME:
        raise click.UsageError(f"--name must have 1 to {MAX_NAME} characters.")
    click.echo(_run(lambda pool: operator.create_agency(pool, cleaned)))


@click.command("invite", help="Add a user, or invite again who has not accepted; print a one-time token of 24 hours.")
@click.option("--agency", type=click.UUID, help="The agency the user belongs to.")
@click.option("--platform", is_flag=True, help="Instead of --agency: a user of the platform itself.")
@click.option("--email", required=True, help="What the user logs in with.")
@click.option("--roles", default="", metavar="A,B", help=f"Comma-separated: {', '.join(REACH)}.")
@click.option("--property", "properties", multiple=True, type=click.UUID, help="Only these properties; repeatable.")
@click.option("--url", default="", help="Print `URL#token=...` instead of the bare token.")
def invite(agency: UUID | None, platform: bool, email: str, roles: str, properties: tuple[UUID, ...], url: str) -> None:
    """Print the token of the invitation."""
    address = _email(email)
    if platform == (agency is not None):
        raise click.UsageError("Give either --agency or --platform.")
    if agency is None:
        if roles or properties:
            raise click.UsageError("--platform takes neither --roles nor --property.")
        _show(_run(lambda pool: operator.invite_platform(pool, address)), url)
        return
    names = frozenset(role.strip() for role in roles.split(",") if role.strip())
    grant = Grant(names, frozenset(properties) or None)
    _show(_run(lambda pool: operator.invite(pool, agency, address, grant)), url)


@click.command("reset-password", help="Print a one-time token of one hour with which a user sets a new password.")
@click.option("--email", required=True, help="What the user logs in with.")
@click.option("--agency", type=click.UUID, help="Needed when several agencies have a user with this e-mail.")
@click.option("--url", default="", help="Print `URL#token=...` instead of the bare token.")
def reset_password(email: str, agency: UUID | None, url: str) -> None:
    """Print the token of the reset."""
    address = _email(email)
    _show(_run(lambda pool: operator.reset_password(pool, address, agency)), url)


COMMANDS: tuple[click.Command, ...] = (create_agency, invite, reset_password)


def _run(use_case: Callable[[Pool], Awaitable[Result]]) -> Result:
    try:
        return run_use_case(lambda deps: use_case(deps.pool))
    except (NotFound, EmailTaken, EmailAmbiguous, GrantUnfit) as error:
        raise click.ClickException(str(error)) from error


def _email(text: str) -> str:
    address = text.strip()
    local, _, domain = address.partition("@")
    if not local or not domain or "@" in domain or len(address) > MAX_EMAIL or any(map(str.isspace, address)):
        raise click.UsageError("--email must be an e-mail address.")
    return address


def _show(link: Link, url: str) -> None:
    # Behind a fragment, which browsers send to no server: it stays out of access logs.
    click.echo(f"{url}#token={link.token}" if url else link.token)
    hours = int(link.ttl.total_seconds()) // 3600
    click.echo(
        f"For user {link.user.id}, once, within {hours} h: POST /api/v1/auth/accept-link "
        '{"token": "...", "password": "..."}',
        err=True,
    )
