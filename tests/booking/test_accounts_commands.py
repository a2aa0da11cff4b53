"""An operator's commands: agencies, invitations and password resets, printed once."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import click
import pytest
import pytest_asyncio
from click.testing import CliRunner, Result

from booking.commands.accounts import COMMANDS
from booking.service.accounts import login
from runtime.tokens import verify_token
from tests.booking.accounts_scene import PASSWORD, SECRET, Scene, account_scene
from tests.booking.conftest import Ledger
from tests.conftest import Provisioned

pytestmark = pytest.mark.stack

GROUP = click.Group("booking", commands=list(COMMANDS))


@pytest_asyncio.fixture(loop_scope="session")
async def scene(ledger: Ledger) -> AsyncIterator[Scene]:
    """Accounts on the real database."""
    async with account_scene(ledger) as made:
        yield made


@pytest.fixture
def environment(provisioned: Provisioned) -> dict[str, str]:
    """The addresses of the database, as the commands get them."""
    urls = provisioned.databases.booking
    return {"DATABASE_URL": urls.app, "SYSTEM_DATABASE_URL": urls.system}


async def run(environment: dict[str, str], *arguments: str) -> Result:
    """One command, in a thread because it has an event loop of its own."""
    return await asyncio.to_thread(CliRunner().invoke, GROUP, list(arguments), env=environment)


async def test_an_operator_sets_up_an_agency_whose_admin_logs_in(scene: Scene, environment: dict[str, str]) -> None:
    made = await run(environment, "create-agency", "--name", "Casas do Mar")
    agency = UUID(made.stdout.strip())
    email = f"{uuid4().hex}@example.com"
    invited = await run(environment, "invite", "--agency", str(agency), "--email", email, "--roles", "admin, staff")
    assert invited.exit_code == 0, invited.output
    token = invited.stdout.strip()
    assert "24 h" in invited.stderr
    assert token not in invited.stderr
    assert token not in await scene.dump()
    await login.accept_link(scene.access, token, PASSWORD)
    session = await login.exchange_password(scene.access, email, PASSWORD, None)
    who = verify_token(SECRET, session.access_token)
    assert (who.agency_id, who.roles) == (agency, frozenset({"admin", "staff"}))
    again = await run(environment, "invite", "--agency", str(agency), "--email", email, "--roles", "admin")
    assert (again.exit_code, again.stdout) == (1, "")
    assert "has a user with this e-mail" in again.stderr


async def test_a_forgotten_password_is_reset_by_a_printed_link(scene: Scene, environment: dict[str, str]) -> None:
    user = await scene.member(await scene.agency(), "staff")
    url = "https://suite.example/welcome"
    printed = await run(environment, "reset-password", "--email", user.email.upper(), "--url", url)
    address, _, token = printed.stdout.strip().partition("#token=")
    assert address == url
    assert "1 h" in printed.stderr
    await login.accept_link(scene.access, token, "another password")
    await scene.log_in(user, "another password")


async def test_a_reset_names_the_agency_when_several_know_the_email(scene: Scene, environment: dict[str, str]) -> None:
    email = f"{uuid4().hex}@example.com"
    first, _ = [await scene.member(await scene.agency(), "staff", email=email) for _ in range(2)]
    unclear = await run(environment, "reset-password", "--email", email)
    assert unclear.exit_code == 1
    assert "name the agency" in unclear.stderr
    printed = await run(environment, "reset-password", "--email", email, "--agency", str(first.agency_id))
    assert (await login.accept_link(scene.access, printed.stdout.strip(), PASSWORD)).id == first.id


async def test_a_user_of_the_platform_belongs_to_no_agency(scene: Scene, environment: dict[str, str]) -> None:
    email = f"{uuid4().hex}@example.com"
    printed = await run(environment, "invite", "--platform", "--email", email)
    user = await login.accept_link(scene.access, printed.stdout.strip(), PASSWORD)
    assert (user.agency_id, user.grant.roles) == (None, frozenset({"platform"}))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["create-agency", "--name", "  "], 2, "1 to 200"),
        (["invite", "--email", "a@b.c"], 2, "--agency or --platform"),
        (["invite", "--platform", "--agency", str(UUID(int=1)), "--email", "a@b.c"], 2, "--agency or --platform"),
        (["invite", "--platform", "--email", "a@b.c", "--roles", "admin"], 2, "--roles"),
        (["invite", "--agency", str(UUID(int=1)), "--email", "nobody", "--roles", "admin"], 2, "e-mail address"),
        (["invite", "--agency", str(UUID(int=1)), "--email", "a@b.c", "--roles", "king"], 1, "admin, manager"),
        (["invite", "--agency", str(UUID(int=1)), "--email", "a@b.c", "--roles", "admin"], 1, "no such agency"),
        (["reset-password", "--email", "nobody@example.com"], 1, "no such active user"),
    ],
)
async def test_a_wrong_command_says_what_is_wrong(
    environment: dict[str, str], ledger: Ledger, arguments: list[str], code: int, message: str
) -> None:
    result = await run(environment, *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr
    assert "Traceback" not in result.output
