"""Logging in on a real PostgreSQL: passwords, lock-out, refresh tokens, one-time links."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from booking.domain.accounts import (
    Grant,
    LinkRefused,
    LoginLocked,
    LoginRefused,
    LoginsBusy,
    RefreshRefused,
    User,
)
from booking.service.accounts import login, operator, users
from booking.service.accounts.login import Session
from booking.service.accounts.passwords import Passwords
from booking.service.accounts.users import UserChange
from runtime.tokens import verify_token
from tests.booking.accounts_scene import (
    PASSWORD,
    SECRET,
    CountingHasher,
    Scene,
    account_scene,
    caller,
    operator_caller,
)
from tests.booking.conftest import Ledger
from tests.clock import clock_ahead

pytestmark = pytest.mark.stack

WRONG = "wrong password!"
DISABLED = UserChange(None, False, None, active=False)


@pytest_asyncio.fixture(loop_scope="session")
async def scene(ledger: Ledger) -> AsyncIterator[Scene]:
    """Accounts on the real database."""
    async with account_scene(ledger) as made:
        yield made


def refresh_of(session: Session) -> str:
    assert session.refresh_token is not None
    return session.refresh_token


async def fail(scene: Scene, email: str, times: int) -> None:
    for _ in range(times):
        with pytest.raises(LoginRefused):
            await login.exchange_password(scene.access, email, WRONG, None)


async def test_a_login_gives_a_token_with_the_user_their_agency_roles_and_properties(scene: Scene) -> None:
    agency = await scene.agency()
    house = await scene.ledger.new_property(agency)
    user = await scene.member(agency, "manager", "staff", properties=[house])
    session = await login.exchange_password(scene.access, f" {user.email.upper()} ", PASSWORD, None)
    who = verify_token(SECRET, session.access_token)
    assert (who.subject, who.agency_id, who.roles) == (f"user:{user.id}", agency, frozenset({"manager", "staff"}))
    assert who.claims["property_ids"] == [str(house)]


async def test_an_unknown_email_costs_the_same_verification_and_gets_the_same_answer(scene: Scene) -> None:
    user = await scene.member(await scene.agency(), "staff")
    invited = await operator.invite(
        scene.ledger.system.pool, await scene.agency(), f"{uuid4().hex}@example.com", Grant(frozenset({"staff"}))
    )
    answers = []
    for email in (user.email, f"{uuid4().hex}@example.com", invited.user.email):
        before = scene.hasher.verified
        with pytest.raises(LoginRefused) as refused:
            await login.exchange_password(scene.access, email, WRONG, None)
        answers.append((str(refused.value), scene.hasher.verified - before))
    assert set(answers) == {(LoginRefused.__doc__, 1)}


async def test_an_email_of_two_agencies_needs_the_agency_and_says_so_to_nobody_in_particular(scene: Scene) -> None:
    email = f"{uuid4().hex}@example.com"
    first, second = [await scene.member(await scene.agency(), "staff", email=email) for _ in range(2)]
    before = scene.hasher.verified
    with pytest.raises(LoginRefused):
        await login.exchange_password(scene.access, email, PASSWORD, None)
    assert scene.hasher.verified == before + 1
    for user in (first, second):
        assert verify_token(SECRET, (await scene.log_in(user)).access_token).agency_id == user.agency_id


async def test_no_agency_can_keep_the_platform_out_by_inviting_its_user(scene: Scene) -> None:
    email = f"{uuid4().hex}@example.com"
    link = await operator.invite_platform(scene.ledger.system.pool, email)
    await login.accept_link(scene.access, link.token, PASSWORD)
    await scene.member(await scene.agency(), "staff", email=email)
    who = verify_token(SECRET, (await login.exchange_password(scene.access, email, PASSWORD, None)).access_token)
    assert (who.agency_id, who.roles) == (None, frozenset({"platform"}))


@pytest.mark.parametrize("is_known", [True, False])
async def test_five_failures_lock_an_email_whether_or_not_anyone_has_it(scene: Scene, is_known: bool) -> None:
    email = f"{uuid4().hex}@example.com"
    if is_known:
        await scene.member(await scene.agency(), "staff", email=email)
    await fail(scene, email, 5)
    before = scene.hasher.verified
    with pytest.raises(LoginLocked) as locked:
        await login.exchange_password(scene.access, email, PASSWORD, None)
    assert 25 <= locked.value.retry_after_s <= 30
    assert scene.hasher.verified == before
    async with clock_ahead(scene.ledger.owner_dsn, timedelta(seconds=31)):
        await fail(scene, email, 1)
        with pytest.raises(LoginLocked) as longer:
            await login.exchange_password(scene.access, email, PASSWORD, None)
    assert 55 <= longer.value.retry_after_s <= 60


async def test_a_good_login_after_the_lock_starts_the_count_anew(scene: Scene) -> None:
    user = await scene.member(await scene.agency(), "staff")
    await fail(scene, user.email, 5)
    async with clock_ahead(scene.ledger.owner_dsn, timedelta(seconds=31)):
        await scene.log_in(user)
        await fail(scene, user.email, 4)
        await scene.log_in(user)


async def test_a_hundred_guesses_at_once_are_no_more_than_five(scene: Scene) -> None:
    user = await scene.member(await scene.agency(), "staff")
    patient = replace(scene.access, passwords=Passwords(scene.hasher, waiting_at_most=200))
    before = scene.hasher.verified
    guesses = [login.exchange_password(patient, user.email, f"guess number {n}", None) for n in range(100)]
    results = await asyncio.gather(*guesses, return_exceptions=True)
    assert scene.hasher.verified - before == 5
    assert sum(isinstance(result, LoginRefused) for result in results) == 5
    assert sum(isinstance(result, LoginLocked) for result in results) == 95


async def test_logins_beyond_the_queue_are_sent_away_and_count_as_no_failure(scene: Scene) -> None:
    user = await scene.member(await scene.agency(), "staff")
    narrow = replace(scene.access, passwords=Passwords(scene.hasher, at_once=1, waiting_at_most=0))
    async with narrow.passwords.slot():
        for _ in range(6):
            with pytest.raises(LoginsBusy):
                await login.exchange_password(narrow, user.email, PASSWORD, None)
    await login.exchange_password(narrow, user.email, PASSWORD, None)


async def test_a_hash_of_older_parameters_is_renewed_at_the_next_login(scene: Scene) -> None:
    user = await scene.member(await scene.agency(), "staff")
    stronger = replace(scene.access, passwords=Passwords(CountingHasher(time_cost=2)))

    async def stored() -> str:
        found = await scene.ledger.system.pool.fetchval(
            "SELECT password_hash FROM credentials WHERE user_id = $1", user.id
        )
        return str(found)

    assert "t=1" in await stored()
    await login.exchange_password(stronger, user.email, PASSWORD, None)
    renewed = await stored()
    assert renewed.startswith("$argon2id$")
    assert "t=2" in renewed
    await login.exchange_password(stronger, user.email, PASSWORD, None)
    assert await stored() == renewed


def test_the_product_hashes_with_the_parameters_of_rfc_9106() -> None:
    hasher = Passwords()._hasher
    assert (hasher.type.name, hasher.memory_cost, hasher.time_cost, hasher.parallelism) == ("ID", 65536, 3, 4)


async def test_a_password_is_the_same_however_its_characters_are_composed(scene: Scene) -> None:
    link = await operator.invite(
        scene.ledger.system.pool, await scene.agency(), f"{uuid4().hex}@example.com", Grant(frozenset({"staff"}))
    )
    user = await login.accept_link(scene.access, link.token, "café au lait, two")
    await scene.log_in(user, "café au lait, two")


async def test_a_refresh_token_works_once_and_gives_the_next(scene: Scene) -> None:
    user = await scene.member(await scene.agency(), "staff")
    first = await scene.log_in(user)
    second = await login.refresh(scene.access, refresh_of(first))
    third = await login.refresh(scene.access, refresh_of(second))
    assert len({refresh_of(session) for session in (first, second, third)}) == 3
    assert verify_token(SECRET, third.access_token).subject == f"user:{user.id}"


async def test_a_refresh_token_used_twice_ends_its_login_and_no_other(scene: Scene) -> None:
    user = await scene.member(await scene.agency(), "staff")
    stolen, other = [await scene.log_in(user) for _ in range(2)]
    current = await login.refresh(scene.access, refresh_of(stolen))
    with pytest.raises(RefreshRefused):
        await login.refresh(scene.access, refresh_of(stolen))
    with pytest.raises(RefreshRefused):
        await login.refresh(scene.access, refresh_of(current))
    await login.refresh(scene.access, refresh_of(other))


async def test_of_two_refreshes_at_once_one_wins_and_the_login_ends(scene: Scene) -> None:
    session = await scene.log_in(await scene.member(await scene.agency(), "staff"))
    results = await asyncio.gather(
        *(login.refresh(scene.access, refresh_of(session)) for _ in range(2)), return_exceptions=True
    )
    won = [result for result in results if isinstance(result, Session)]
    assert len(won) == 1
    with pytest.raises(RefreshRefused):
        await login.refresh(scene.access, refresh_of(won[0]))


async def test_a_login_ends_thirty_days_after_it_began_however_often_it_was_refreshed(scene: Scene) -> None:
    session = await scene.log_in(await scene.member(await scene.agency(), "staff"))
    day = 24 * 3600
    async with clock_ahead(scene.ledger.owner_dsn, timedelta(seconds=29 * day)):
        session = await login.refresh(scene.access, refresh_of(session))
    async with clock_ahead(scene.ledger.owner_dsn, timedelta(seconds=30 * day + 1)):
        with pytest.raises(RefreshRefused):
            await login.refresh(scene.access, refresh_of(session))


async def test_a_refresh_speaks_with_the_roles_of_now_and_ends_for_whoever_is_disabled(scene: Scene) -> None:
    agency = await scene.agency()
    user = await scene.member(agency, "staff")
    session = await scene.log_in(user)
    boss = operator_caller(agency, "admin")
    await users.change(scene.access, boss, agency, user.id, UserChange(frozenset({"manager"}), False, None, None))
    session = await login.refresh(scene.access, refresh_of(session))
    assert verify_token(SECRET, session.access_token).roles == {"manager"}
    await users.change(scene.access, boss, agency, user.id, DISABLED)
    await users.change(scene.access, boss, agency, user.id, UserChange(None, False, None, active=True))
    with pytest.raises(RefreshRefused):
        await login.refresh(scene.access, refresh_of(session))
    await scene.log_in(user)


async def test_a_disabled_user_cannot_log_in(scene: Scene) -> None:
    agency = await scene.agency()
    user = await scene.member(agency, "staff")
    await users.change(scene.access, operator_caller(agency, "admin"), agency, user.id, DISABLED)
    with pytest.raises(LoginRefused):
        await scene.log_in(user)


async def test_logging_out_ends_this_login_only(scene: Scene) -> None:
    user = await scene.member(await scene.agency(), "staff")
    here, there = [await scene.log_in(user) for _ in range(2)]
    await login.log_out(scene.access, refresh_of(here))
    await login.log_out(scene.access, refresh_of(here))
    await login.log_out(scene.access, "nonsense")
    with pytest.raises(RefreshRefused):
        await login.refresh(scene.access, refresh_of(here))
    await login.refresh(scene.access, refresh_of(there))


async def invitation(scene: Scene) -> operator.Link:
    address = f"{uuid4().hex}@example.com"
    return await operator.invite(scene.ledger.system.pool, await scene.agency(), address, Grant(frozenset({"staff"})))


async def test_a_link_works_once_also_when_used_twice_at_once(scene: Scene) -> None:
    link = await invitation(scene)
    results = await asyncio.gather(
        *(login.accept_link(scene.access, link.token, PASSWORD) for _ in range(3)), return_exceptions=True
    )
    assert sum(isinstance(result, User) for result in results) == 1
    assert sum(isinstance(result, LinkRefused) for result in results) == 2
    with pytest.raises(LinkRefused):
        await login.accept_link(scene.access, link.token, PASSWORD)


@pytest.mark.parametrize(("is_reset", "hours"), [(False, 24), (True, 1)])
async def test_a_link_ends_in_time(scene: Scene, is_reset: bool, hours: int) -> None:
    if is_reset:
        user = await scene.member(await scene.agency(), "staff")
        link = await operator.reset_password(scene.ledger.system.pool, user.email, None)
    else:
        link = await invitation(scene)
    async with clock_ahead(scene.ledger.owner_dsn, timedelta(seconds=hours * 3600 + 1)):
        with pytest.raises(LinkRefused):
            await login.accept_link(scene.access, link.token, PASSWORD)
    async with clock_ahead(scene.ledger.owner_dsn, timedelta(seconds=hours * 3600 - 60)):
        await login.accept_link(scene.access, link.token, PASSWORD)


async def test_a_newer_link_voids_the_older(scene: Scene) -> None:
    first = await invitation(scene)
    assert first.user.agency_id is not None
    again = await operator.invite(
        scene.ledger.system.pool, first.user.agency_id, first.user.email, Grant(frozenset({"manager"}))
    )
    with pytest.raises(LinkRefused):
        await login.accept_link(scene.access, first.token, PASSWORD)
    accepted = await login.accept_link(scene.access, again.token, PASSWORD)
    assert (accepted.id, accepted.grant.roles) == (first.user.id, frozenset({"manager"}))


async def test_a_reset_ends_the_old_password_every_login_and_the_lock(scene: Scene) -> None:
    user = await scene.member(await scene.agency(), "staff")
    session = await scene.log_in(user)
    await fail(scene, user.email, 5)
    link = await operator.reset_password(scene.ledger.system.pool, user.email, None)
    await login.accept_link(scene.access, link.token, "another password")
    with pytest.raises(RefreshRefused):
        await login.refresh(scene.access, refresh_of(session))
    await scene.log_in(user, "another password")
    with pytest.raises(LoginRefused):
        await scene.log_in(user)


async def test_a_login_overtaken_by_a_reset_gets_nothing(scene: Scene) -> None:
    user = await scene.member(await scene.agency(), "staff")
    link = await operator.reset_password(scene.ledger.system.pool, user.email, None)

    class Slow(Passwords):
        async def matches(self, stored: str | None, password: str) -> bool:
            matched = await super().matches(stored, password)
            await login.accept_link(scene.access, link.token, "another password")
            return matched

    slow = replace(scene.access, passwords=Slow(scene.hasher))
    with pytest.raises(LoginRefused):
        await login.exchange_password(slow, user.email, PASSWORD, None)


async def families(scene: Scene, user_id: UUID) -> int:
    count: int = await scene.ledger.system.pool.fetchval(
        "SELECT count(*) FROM refresh_tokens WHERE user_id = $1", user_id
    )
    return count


async def test_what_ended_a_week_ago_is_purged_and_nothing_else(scene: Scene) -> None:
    user = await scene.member(await scene.agency(), "staff")
    session = await scene.log_in(user)
    email = f"{uuid4().hex}@example.com"
    await fail(scene, email, 1)
    await operator.purge(scene.ledger.system.pool)
    assert await families(scene, user.id) == 1
    await login.refresh(scene.access, refresh_of(session))
    async with clock_ahead(scene.ledger.owner_dsn, timedelta(seconds=38 * 24 * 3600)):
        assert await operator.purge(scene.ledger.system.pool) >= 3
    assert await families(scene, user.id) == 0
    assert await scene.ledger.system.pool.fetchval("SELECT count(*) FROM login_failures") == 0


async def test_a_change_of_another_user_leaves_the_token_of_this_one_alone(scene: Scene) -> None:
    agency = await scene.agency()
    admin, other = await scene.member(agency, "admin"), await scene.member(agency, "staff")
    session = await scene.log_in(admin)
    await users.change(scene.access, caller(admin), agency, other.id, DISABLED)
    await login.refresh(scene.access, refresh_of(session))
