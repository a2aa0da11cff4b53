"""Users and API keys on a real PostgreSQL: who manages whom, what a key may do, agencies apart, secrets unread."""

import asyncio
from collections.abc import AsyncIterator, Collection
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio

from booking.domain.accounts import (
    ApiKey,
    ApiKeyRefused,
    EmailTaken,
    Grant,
    GrantExceedsOwn,
    GrantUnfit,
    LastAdmin,
    ManagedByUsersOnly,
    NotAllowed,
    User,
)
from booking.domain.errors import NotFound
from booking.domain.model import Page
from booking.service.accounts import keys, login, operator, users
from booking.service.accounts.users import UserChange
from runtime.idempotency import IdempotencyKey
from runtime.postgres import transaction
from runtime.tokens import Caller, verify_token
from tests.booking.accounts_scene import SECRET, Scene, account_scene, caller, operator_caller
from tests.booking.conftest import Ledger
from tests.clock import clock_ahead

pytestmark = pytest.mark.stack

PAGE = Page(50)
BEFORE_SECRET = len("pms_0123456789ab_")
DISABLED = UserChange(None, False, None, active=False)
STAFF = Grant(frozenset({"staff"}))


@pytest_asyncio.fixture(loop_scope="session")
async def scene(ledger: Ledger) -> AsyncIterator[Scene]:
    """Accounts on the real database."""
    async with account_scene(ledger) as made:
        yield made


def to(*roles: str, properties: Collection[UUID] | None = None) -> UserChange:
    """A change of roles and properties."""
    return UserChange(frozenset(roles), True, frozenset(properties) if properties is not None else None, None)


async def make_key(
    scene: Scene, who: Caller, *roles: str, properties: Collection[UUID] | None = None, days: int = 30
) -> tuple[ApiKey, str]:
    """A new key and its secret."""
    made: list[tuple[ApiKey, str]] = []

    def body(key: ApiKey, secret: str) -> str:
        made.append((key, secret))
        return "{}"

    grant = Grant(frozenset(roles), frozenset(properties) if properties is not None else None)
    assert who.agency_id is not None
    await keys.create(scene.access, who, who.agency_id, "importer", grant, timedelta(days=days), None, body)
    return made[0]


async def invite(scene: Scene, who: Caller, email: str, grant: Grant = STAFF, key: IdempotencyKey | None = None) -> str:
    """Create a user through the use case; the answer's body is their id and token."""
    assert who.agency_id is not None
    made = await users.create(
        scene.access, who, who.agency_id, email, grant, key, lambda user, token: f"{user.id} {token}"
    )
    return made.body


async def test_an_admin_invites_and_the_invited_log_in(scene: Scene) -> None:
    agency = await scene.agency()
    admin = await scene.member(agency, "admin")
    email = f"{uuid4().hex}@example.com"
    user_id, token = (await invite(scene, caller(admin), email)).split()
    accepted = await login.accept_link(scene.access, token, "long enough password")
    assert str(accepted.id) == user_id
    await login.exchange_password(scene.access, email, "long enough password", agency)


async def test_an_email_is_taken_once_per_agency_whatever_its_case(scene: Scene) -> None:
    first, second = [await scene.agency() for _ in range(2)]
    email = f"{uuid4().hex}@example.com"
    await invite(scene, operator_caller(first, "admin"), email)
    with pytest.raises(EmailTaken):
        await invite(scene, operator_caller(first, "admin"), email.upper())
    await invite(scene, operator_caller(second, "admin"), email)


async def test_concurrent_invitations_with_one_key_make_one_user_and_answer_alike(scene: Scene) -> None:
    agency = await scene.agency()
    key = IdempotencyKey(agency, "local", "k", "f")
    email = f"{uuid4().hex}@example.com"
    bodies = await asyncio.gather(*(invite(scene, operator_caller(agency, "admin"), email, key=key) for _ in range(8)))
    assert len(set(bodies)) == 1
    token = bodies[0].split()[1]
    assert token not in await scene.dump()
    await login.accept_link(scene.access, token, "long enough password")


@pytest.mark.parametrize("roles", [("manager",), ("staff",), ()])
async def test_only_admins_manage_users(scene: Scene, roles: tuple[str, ...]) -> None:
    agency = await scene.agency()
    other = await scene.member(agency, "staff")
    who = operator_caller(agency, *roles)
    with pytest.raises(NotAllowed):
        await users.list_page(scene.access, who, agency, PAGE)
    with pytest.raises(NotAllowed):
        await users.get(scene.access, who, agency, other.id)
    with pytest.raises(NotAllowed):
        await users.change(scene.access, who, agency, other.id, DISABLED)
    with pytest.raises(NotAllowed):
        await invite(scene, who, "a@example.com")


async def test_a_demoted_or_disabled_admin_manages_nothing_with_the_token_they_still_have(scene: Scene) -> None:
    agency = await scene.agency()
    keeper, demoted, disabled = [await scene.member(agency, "admin") for _ in range(3)]
    tokens = [caller(user) for user in (demoted, disabled)]
    await users.change(scene.access, caller(keeper), agency, demoted.id, to("staff"))
    await users.change(scene.access, caller(keeper), agency, disabled.id, DISABLED)
    for token in tokens:
        with pytest.raises(NotAllowed):
            await users.list_page(scene.access, token, agency, PAGE)
        with pytest.raises(NotAllowed):
            await make_key(scene, token, "staff")


async def test_an_agency_keeps_its_last_admin_also_when_two_disable_each_other_at_once(scene: Scene) -> None:
    agency = await scene.agency()
    one, two = [await scene.member(agency, "admin") for _ in range(2)]
    results = await asyncio.gather(
        users.change(scene.access, caller(one), agency, two.id, DISABLED),
        users.change(scene.access, caller(two), agency, one.id, to("staff")),
        return_exceptions=True,
    )
    assert sum(isinstance(result, User) for result in results) == 1
    assert sum(isinstance(result, NotAllowed) for result in results) == 1
    for user in (one, two):
        with pytest.raises((LastAdmin, NotAllowed)):
            await users.change(scene.access, caller(user), agency, user.id, to("staff"))
    found = await users.list_page(scene.access, operator_caller(agency, "admin"), agency, PAGE)
    assert sum(user.is_active_admin for user in found) == 1


async def test_changes_of_one_agencys_users_wait_for_each_other_and_for_no_other_agencys(scene: Scene) -> None:
    agency, elsewhere = await scene.agency(), await scene.agency()
    user, other = await scene.member(agency, "staff"), await scene.member(elsewhere, "staff")
    async with transaction(scene.ledger.system.pool, None) as holder:
        await holder.execute("SELECT FROM agencies WHERE agency_id = $1 FOR UPDATE", agency)
        boss = operator_caller(agency, "admin")
        waiting = asyncio.create_task(users.change(scene.access, boss, agency, user.id, DISABLED))
        await users.change(scene.access, operator_caller(elsewhere, "admin"), elsewhere, other.id, DISABLED)
        await asyncio.sleep(0.2)
        assert not waiting.done()
    assert not (await waiting).active


async def test_a_scope_names_properties_of_the_agency_only(scene: Scene) -> None:
    agency, stranger = await scene.agency(), await scene.agency()
    mine, theirs = await scene.ledger.new_property(agency), await scene.ledger.new_property(stranger)
    user = await scene.member(agency, "staff")
    boss = operator_caller(agency, "admin")
    changed = await users.change(scene.access, boss, agency, user.id, to("owner", properties=[mine]))
    assert changed.grant == Grant(frozenset({"owner"}), frozenset({mine}))
    for foreign in (theirs, uuid4()):
        with pytest.raises(NotFound, match="property"):
            await users.change(scene.access, boss, agency, user.id, to("owner", properties=[mine, foreign]))
        with pytest.raises(NotFound, match="property"):
            await make_key(scene, boss, "owner", properties=[foreign])
        with pytest.raises(NotFound, match="property"):
            await operator.invite(
                scene.ledger.system.pool, agency, "o@example.com", Grant(frozenset({"owner"}), frozenset({foreign}))
            )
    with pytest.raises(GrantUnfit):
        await users.change(scene.access, boss, agency, user.id, to("owner"))


async def test_a_key_gives_a_token_with_its_roles_and_properties_and_notes_its_use_once_a_minute(scene: Scene) -> None:
    agency = await scene.agency()
    house = await scene.ledger.new_property(agency)
    admin = await scene.member(agency, "admin")
    key, secret = await make_key(scene, caller(admin), "staff", properties=[house])
    session = await login.exchange_api_key(scene.access, secret)
    who = verify_token(SECRET, session.access_token)
    assert (who.subject, who.agency_id, who.roles) == (f"key:{key.id}", agency, frozenset({"staff"}))
    assert who.claims["property_ids"] == [str(house)]
    assert session.refresh_token is None

    async def last_used() -> object:
        return (await keys.list_page(scene.access, caller(admin), agency, PAGE))[0].last_used_at

    first = await last_used()
    assert first is not None
    await login.exchange_api_key(scene.access, secret)
    assert await last_used() == first
    async with clock_ahead(scene.ledger.owner_dsn, timedelta(seconds=61)):
        await login.exchange_api_key(scene.access, secret)
    assert await last_used() != first


async def refused(scene: Scene, secret: str) -> bool:
    try:
        await login.exchange_api_key(scene.access, secret)
    except ApiKeyRefused:
        return True
    return False


async def test_an_expired_a_revoked_and_a_wrong_key_are_refused(scene: Scene) -> None:
    agency = await scene.agency()
    admin = await scene.member(agency, "admin")
    key, secret = await make_key(scene, caller(admin), "staff", days=1)
    _, other = await make_key(scene, caller(admin), "staff", days=1)
    mine, unknown = secret[:BEFORE_SECRET], "pms_000000000000_"
    for wrong in (mine + "A" * 43, mine + other[BEFORE_SECRET:], unknown + secret[BEFORE_SECRET:]):
        assert await refused(scene, wrong)
    assert not await refused(scene, secret)
    async with clock_ahead(scene.ledger.owner_dsn, timedelta(seconds=24 * 3600 + 1)):
        assert await refused(scene, secret)
    once = await keys.revoke(scene.access, caller(admin), agency, key.id)
    assert await keys.revoke(scene.access, caller(admin), agency, key.id) == once
    assert once.revoked_at is not None
    assert await refused(scene, secret)
    assert not await refused(scene, other)


async def test_a_key_never_outgrows_its_maker_and_ends_with_them(scene: Scene) -> None:
    agency = await scene.agency()
    houses = [await scene.ledger.new_property(agency) for _ in range(2)]
    boss = operator_caller(agency, "admin")
    maker = await scene.member(agency, "manager")
    _, secret = await make_key(scene, caller(maker), "manager", "staff")

    async def now() -> tuple[frozenset[str], Any]:
        who = verify_token(SECRET, (await login.exchange_api_key(scene.access, secret)).access_token)
        return who.roles, who.claims.get("property_ids")

    assert await now() == (frozenset({"manager", "staff"}), None)
    await users.change(scene.access, boss, agency, maker.id, to("staff", properties=houses[:1]))
    assert await now() == (frozenset({"staff"}), [str(houses[0])])
    await users.change(scene.access, boss, agency, maker.id, DISABLED)
    assert await refused(scene, secret)


async def test_nobody_makes_a_key_that_can_more_than_themselves(scene: Scene) -> None:
    agency = await scene.agency()
    houses = [await scene.ledger.new_property(agency) for _ in range(2)]
    manager = caller(await scene.member(agency, "manager", properties=houses[:1]))
    for roles, scope in ((("admin",), None), (("staff",), None), (("staff",), houses), (("owner",), houses[1:])):
        with pytest.raises(GrantExceedsOwn):
            await make_key(scene, manager, *roles, properties=scope)
    await make_key(scene, manager, "staff", properties=houses[:1])
    staff = caller(await scene.member(agency, "staff"))
    with pytest.raises(NotAllowed):
        await make_key(scene, staff, "staff")
    with pytest.raises(NotAllowed):
        await make_key(scene, operator_caller(agency, "manager"), "staff")


async def test_a_token_that_claims_more_roles_than_its_user_has_gains_nothing(scene: Scene) -> None:
    agency = await scene.agency()
    staff = await scene.member(agency, "staff")
    forged = Caller(f"user:{staff.id}", agency, frozenset({"admin", "staff"}))
    with pytest.raises(NotAllowed):
        await users.list_page(scene.access, forged, agency, PAGE)


async def test_a_key_makes_no_keys_and_no_users(scene: Scene) -> None:
    agency = await scene.agency()
    key, _ = await make_key(scene, operator_caller(agency, "admin"), "admin")
    who = Caller(f"key:{key.id}", agency, frozenset({"admin"}))
    with pytest.raises(ManagedByUsersOnly):
        await make_key(scene, who, "staff")
    with pytest.raises(ManagedByUsersOnly):
        await invite(scene, who, "a@example.com")


async def test_an_admin_sees_and_revokes_every_key_and_a_manager_their_own(scene: Scene) -> None:
    agency = await scene.agency()
    admin, manager = caller(await scene.member(agency, "admin")), caller(await scene.member(agency, "manager"))
    of_admin, _ = await make_key(scene, admin, "staff")
    of_manager, _ = await make_key(scene, manager, "staff")
    assert {key.id for key in await keys.list_page(scene.access, admin, agency, PAGE)} == {of_admin.id, of_manager.id}
    assert [key.id for key in await keys.list_page(scene.access, manager, agency, PAGE)] == [of_manager.id]
    with pytest.raises(NotFound):
        await keys.revoke(scene.access, manager, agency, of_admin.id)
    await keys.revoke(scene.access, manager, agency, of_manager.id)
    await keys.revoke(scene.access, admin, agency, of_manager.id)


async def test_another_agency_sees_changes_and_revokes_nothing(scene: Scene) -> None:
    agency, stranger = await scene.agency(), await scene.agency()
    user = await scene.member(agency, "admin")
    key, secret = await make_key(scene, caller(user), "staff")
    spy = caller(await scene.member(stranger, "admin"))
    assert user.id not in {found.id for found in await users.list_page(scene.access, spy, stranger, PAGE)}
    assert await keys.list_page(scene.access, spy, stranger, PAGE) == []
    for attempt in (
        users.get(scene.access, spy, stranger, user.id),
        users.change(scene.access, spy, stranger, user.id, DISABLED),
        keys.revoke(scene.access, spy, stranger, key.id),
    ):
        with pytest.raises(NotFound):
            await attempt
    # A user of one agency with a token for another is nobody there.
    with pytest.raises(NotAllowed):
        await users.list_page(scene.access, Caller(f"user:{user.id}", stranger, frozenset({"admin"})), stranger, PAGE)
    assert not await refused(scene, secret)


async def test_row_security_shows_the_application_role_its_agency_alone(scene: Scene) -> None:
    agency, stranger = await scene.agency(), await scene.agency()
    for owner in (agency, stranger):
        user = await scene.member(owner, "admin")
        await scene.log_in(user)
        await make_key(scene, caller(user), "staff")
    pool = scene.ledger.api.pool
    for table in ("agencies", "users", "api_keys", "refresh_tokens"):
        async with transaction(pool, agency) as conn:
            rows = await conn.fetch(f"SELECT agency_id FROM {table}")
            assert {row["agency_id"] for row in rows} == {agency}, table
        async with transaction(pool, None) as conn:
            assert await conn.fetch(f"SELECT agency_id FROM {table}") == [], table
        async with transaction(scene.ledger.system.pool, None) as conn:
            rows = await conn.fetch(f"SELECT agency_id FROM {table}")
            assert {agency, stranger} <= {row["agency_id"] for row in rows}, table


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT password_hash FROM credentials",
        "SELECT secret_hash FROM api_keys",
        "SELECT token_hash FROM refresh_tokens",
        "SELECT token_hash FROM one_time_links",
        "SELECT email_hash FROM login_failures",
        "UPDATE api_keys SET secret_hash = ''",
        "UPDATE api_keys SET expires_at = now() + interval '9 years'",
        "UPDATE refresh_tokens SET token_hash = ''",
        "UPDATE one_time_links SET used_at = NULL",
        "INSERT INTO agencies SELECT gen_random_uuid(), 'x', now()",
        "DELETE FROM login_failures",
        "DELETE FROM users",
    ],
)
async def test_the_application_role_neither_reads_nor_rewrites_a_secret(scene: Scene, statement: str) -> None:
    async with transaction(scene.ledger.api.pool, uuid4()) as conn:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await conn.execute(statement)


async def test_the_application_role_cannot_plant_a_user_in_another_agency_or_the_platform(scene: Scene) -> None:
    agency, stranger = await scene.agency(), await scene.agency()
    insert = """INSERT INTO users (id, agency_id, email, email_normalised, roles, created_at, updated_at)
                VALUES (gen_random_uuid(), $1, 'x@y', 'x@y', $2, now(), now())"""
    for target, role in ((stranger, "admin"), (None, "platform")):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with transaction(scene.ledger.api.pool, agency) as conn:
                await conn.execute(insert, target, [role])
