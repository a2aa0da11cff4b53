"""What a role may hand on, what is left of a key, and when a login is locked; without a database."""

from datetime import UTC, datetime, timedelta
from typing import get_args
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from booking.domain.accounts import (
    REACH,
    Attempts,
    Grant,
    GrantUnfit,
    LoginLocked,
    PresentedKey,
    admit,
    check_fit,
    meet,
)
from booking.service.accounts.secret_tokens import (
    RefreshSecret,
    digest,
    is_same,
    new_key,
    new_secret,
    parse_key,
    parse_refresh,
)
from contracts import accounts_http_v1 as http

NOW = datetime(2027, 1, 1, tzinfo=UTC)
HOUSES = [UUID(int=number) for number in range(1, 5)]
NONE_YET = Attempts(0, None, None)

scopes = st.none() | st.frozensets(st.sampled_from(HOUSES), min_size=1)
grants = st.builds(Grant, st.frozensets(st.sampled_from(sorted(REACH)), min_size=1), scopes)


def grant(*roles: str, houses: list[UUID] | None = None) -> Grant:
    return Grant(frozenset(roles), frozenset(houses) if houses is not None else None)


def test_the_contract_knows_the_roles_of_the_domain() -> None:
    assert set(get_args(http.Role)) == set(REACH)


@pytest.mark.parametrize(
    "unfit",
    [
        grant(),
        grant("platform"),
        grant("admin", "service"),
        grant("owner"),
        grant("staff", "owner"),
        grant("admin", houses=HOUSES),
    ],
)
def test_roles_and_properties_that_do_not_go_together_are_refused(unfit: Grant) -> None:
    with pytest.raises(GrantUnfit):
        check_fit(unfit)


@pytest.mark.parametrize(
    ("holder", "wanted", "may"),
    [
        (grant("admin"), grant("admin"), True),
        (grant("admin"), grant("owner", houses=HOUSES[:1]), True),
        (grant("manager"), grant("manager", "staff"), True),
        (grant("manager"), grant("admin"), False),
        (grant("staff"), grant("manager"), False),
        (grant("manager", houses=HOUSES[:2]), grant("staff", houses=HOUSES[:1]), True),
        (grant("manager", houses=HOUSES[:2]), grant("staff", houses=HOUSES[1:3]), False),
        (grant("manager", houses=HOUSES[:2]), grant("staff"), False),
        (grant("platform"), grant("staff"), False),
    ],
)
def test_nobody_hands_on_more_than_they_have(holder: Grant, wanted: Grant, may: bool) -> None:
    assert holder.covers(wanted) is may


@given(grants, grants)
def test_what_is_left_of_a_key_is_within_both_the_key_and_its_maker(key: Grant, maker: Grant) -> None:
    left = meet(key, maker)
    if left is None:
        return
    assert maker.covers(left)
    assert left.roles <= key.roles
    assert key.property_ids is None or (left.property_ids is not None and left.property_ids <= key.property_ids)


@given(grants, grants)
def test_a_key_its_maker_could_make_again_is_left_whole(key: Grant, maker: Grant) -> None:
    if maker.covers(key):
        assert meet(key, maker) == key


def test_a_key_ends_with_its_maker() -> None:
    def key(**changes: object) -> PresentedKey:
        usual = {"is_over": False, "has_maker": True, "maker_is_active": True, "maker": grant("admin")}
        return PresentedKey(HOUSES[0], HOUSES[1], b"", grant("staff"), **{**usual, **changes})  # type: ignore[arg-type]

    assert key().effective == grant("staff")
    assert key(has_maker=False, maker_is_active=False, maker=None).effective == grant("staff")
    assert key(is_over=True).effective is None
    assert key(maker_is_active=False).effective is None
    assert key(maker=grant("owner", houses=HOUSES[:1])).effective is None


def test_the_fifth_failure_locks_and_each_further_one_doubles_the_lock_up_to_an_hour() -> None:
    attempts, now, locks = NONE_YET, NOW, []
    for _ in range(14):
        attempts = admit(attempts, now)
        locks.append((attempts.locked_until - now).total_seconds() if attempts.locked_until else 0)
        now = max(now, attempts.locked_until or now)
    assert locks == [0, 0, 0, 0, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]


def test_a_locked_login_says_in_whole_seconds_when_to_come_back() -> None:
    locked = Attempts(5, NOW, NOW + timedelta(seconds=29.2))
    with pytest.raises(LoginLocked) as refused:
        admit(locked, NOW)
    assert refused.value.retry_after_s == 30


def test_failures_are_forgotten_after_a_day() -> None:
    old = Attempts(9, NOW - timedelta(hours=24), NOW - timedelta(hours=23))
    assert admit(old, NOW) == Attempts(1, NOW, None)
    assert admit(Attempts(9, NOW - timedelta(hours=23), None), NOW).failures == 10


def test_a_thousand_failures_do_not_overflow_the_lock() -> None:
    assert admit(Attempts(1000, NOW, NOW), NOW).locked_until == NOW + timedelta(hours=1)


def test_secrets_are_read_back_as_they_were_shown() -> None:
    for _ in range(50):
        key = new_key()
        assert parse_key(str(key)) == key
        refresh = RefreshSecret(HOUSES[0], new_secret())
        assert parse_refresh(str(refresh)) == refresh


A_KEY = f"pms_0123456789ab_{'s' * 43}"


def test_the_key_the_next_test_spoils_is_one() -> None:
    assert parse_key(A_KEY) is not None


@pytest.mark.parametrize("text", ["", "pms", "pms_x_y", "pms_0123456789ab_short", f"{A_KEY}x", f"{A_KEY}\n"])
def test_what_has_not_the_form_of_a_secret_is_none(text: str) -> None:
    assert parse_key(text) is None
    assert parse_refresh(text) is None


def test_secrets_are_not_in_their_repr() -> None:
    key = new_key()
    assert key.secret not in repr(key)
    asked = http.PasswordGrant(grant="password", email="a@b", password="correct horse")
    assert "correct horse" not in repr(asked)
    assert str(key) not in repr(http.ApiKeyGrant(grant="api_key", api_key=str(key)))


def test_a_digest_is_of_this_secret_only() -> None:
    secret = new_secret()
    assert is_same(digest(secret), secret)
    assert not is_same(digest(secret), secret[:-1])
    assert not is_same(bytes(32), "")
