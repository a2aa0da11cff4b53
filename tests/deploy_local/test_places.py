"""Proves that PostgreSQL's unprivileged user reaches its files wherever the checkout lies."""

from __future__ import annotations

import stat
from pathlib import Path

from deploy.local.places import can_enter, postgres_folder, remove_run_dir, unprivileged_user
from deploy.local.postgres import find_binaries
from deploy.local.secrets_file import FILE, load_secrets


def test_data_of_a_checkout_under_a_private_home_is_placed_where_postgres_can_go(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    run_dir, user = home / "checkout" / ".run", unprivileged_user()
    folder = postgres_folder(run_dir, user)
    try:
        assert can_enter(folder, user)
        assert postgres_folder(run_dir, user) == folder, "the data must be found again"
        assert can_enter(home, user) == (user is None)
    finally:
        remove_run_dir(run_dir)
    assert not folder.exists()


def test_postgres_binaries_are_where_its_user_can_run_them() -> None:
    user = unprivileged_user()
    assert can_enter(find_binaries(user), user)


def test_secrets_are_random_stay_the_same_and_only_their_user_can_read_them(tmp_path: Path) -> None:
    made = load_secrets(tmp_path / "one")
    assert load_secrets(tmp_path / "one") == made
    assert load_secrets(tmp_path / "two") != made
    assert len(made.jwt_secret) >= 32
    assert stat.S_IMODE((tmp_path / "one" / FILE).stat().st_mode) == 0o600
