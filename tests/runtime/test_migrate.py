"""Proves the migration runner: each file once, all or nothing, and nothing when only asked."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from click.testing import CliRunner

from deploy.local.provision import DatabaseUrls
from runtime.cli import Service, command_line
from runtime.migrate import FLOOR, Migration, MigrationRefused, migrate, read_migrations
from runtime.settings import ServiceSettings
from tests.conftest import Provisioned
from tests.runtime.conftest import ROLES, new_database

pytestmark = pytest.mark.stack

NOTES = "CREATE TABLE notes (id int PRIMARY KEY); GRANT SELECT ON notes TO {{app}};"
MORE = "ALTER TABLE notes ADD COLUMN words text; INSERT INTO notes VALUES (1, 'semi;colon');"


@pytest_asyncio.fixture(loop_scope="session")
async def fresh(provisioned: Provisioned) -> DatabaseUrls:
    """An empty database."""
    return await new_database(provisioned)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two migrations of a service."""
    (tmp_path / "0001_notes.sql").write_text(NOTES)
    (tmp_path / "0002_more_words.sql").write_text(MORE)
    return tmp_path


def files(folder: Path) -> list[Migration]:
    return read_migrations("service", folder, ROLES)


async def fetchval(urls: DatabaseUrls, statement: str) -> object:
    connection = await asyncpg.connect(urls.owner)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def tables(urls: DatabaseUrls) -> object:
    return await fetchval(
        urls,
        "SELECT array_agg(relname::text ORDER BY relname) FROM pg_class WHERE relkind = 'r' AND relnamespace = "
        "'public'::regnamespace",
    )


async def test_missing_files_are_applied_once_in_order(fresh: DatabaseUrls, folder: Path) -> None:
    before = await migrate(fresh.owner, files(folder))
    assert [(state.version, state.applied) for state in before] == [("0001", False), ("0002", False)]
    again = await migrate(fresh.owner, files(folder))
    assert [(state.name, state.applied) for state in again] == [("notes", True), ("more_words", True)]
    assert await fetchval(fresh, "SELECT count(*) FROM notes") == 1
    assert await fetchval(fresh, "SELECT has_table_privilege('booking_app', 'notes', 'SELECT')") is True


async def test_a_file_that_is_added_later_is_applied_alone(fresh: DatabaseUrls, folder: Path) -> None:
    await migrate(fresh.owner, files(folder)[:1])
    states = await migrate(fresh.owner, files(folder))
    assert [state.applied for state in states] == [True, False]
    assert await fetchval(fresh, "SELECT count(*) FROM notes") == 1


async def test_sets_do_not_know_each_others_versions(fresh: DatabaseUrls, folder: Path) -> None:
    await migrate(fresh.owner, [*read_migrations("floor", FLOOR, ROLES), *files(folder)])
    assert await tables(fresh) == ["idempotency_keys", "inbox", "notes", "outbox", "relay_leases", "schema_migrations"]


async def test_two_runners_at_once_apply_each_file_once(fresh: DatabaseUrls, folder: Path) -> None:
    (folder / "0003_slow.sql").write_text("SELECT pg_sleep(0.2); INSERT INTO notes VALUES (2);")
    runs = await asyncio.gather(*(migrate(fresh.owner, files(folder)) for _ in range(3)))
    assert sorted([state.applied for state in run] for run in runs) == [[False] * 3, [True] * 3, [True] * 3]
    assert await fetchval(fresh, "SELECT count(*) FROM notes") == 2


async def test_a_dry_run_tells_what_is_missing_and_changes_nothing(fresh: DatabaseUrls, folder: Path) -> None:
    states = await migrate(fresh.owner, files(folder), dry_run=True)
    assert [state.applied for state in states] == [False, False]
    assert await tables(fresh) is None
    await migrate(fresh.owner, files(folder)[:1])
    states = await migrate(fresh.owner, files(folder), dry_run=True)
    assert [state.applied for state in states] == [True, False]
    assert await fetchval(fresh, "SELECT count(*) FROM schema_migrations") == 1


async def test_a_file_that_was_changed_after_it_was_applied_is_refused(fresh: DatabaseUrls, folder: Path) -> None:
    await migrate(fresh.owner, files(folder)[:1])
    (folder / "0001_notes.sql").write_text(NOTES + " -- a word more")
    for dry_run in (True, False):
        with pytest.raises(MigrationRefused, match=r"service 0001_notes\.sql was changed after it was applied"):
            await migrate(fresh.owner, files(folder), dry_run=dry_run)
    assert await fetchval(fresh, "SELECT count(*) FROM schema_migrations") == 1


async def test_a_failing_file_leaves_nothing_behind_and_the_ones_before_it_stay(
    fresh: DatabaseUrls, folder: Path
) -> None:
    (folder / "0003_fails.sql").write_text("CREATE TABLE half (id int); SELECT 1 / 0; CREATE TABLE whole (id int);")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(fresh.owner, files(folder))
    assert await tables(fresh) == ["notes", "schema_migrations"]
    assert await fetchval(fresh, "SELECT max(version) FROM schema_migrations") == "0002"
    (folder / "0003_fails.sql").write_text("CREATE TABLE whole (id int);")
    assert [state.applied for state in await migrate(fresh.owner, files(folder))] == [True, True, False]


async def test_a_first_file_that_fails_leaves_not_even_the_bookkeeping(fresh: DatabaseUrls, tmp_path: Path) -> None:
    (tmp_path / "0001_fails.sql").write_text("CREATE TABLE half (id int); SELECT 1 / 0;")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(fresh.owner, files(tmp_path))
    assert await tables(fresh) is None


async def test_production_is_migrated_only_when_confirmed(
    fresh: DatabaseUrls, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    for confirmation in (None, "0", "yes"):
        if confirmation is not None:
            monkeypatch.setenv("CONFIRM_PROD", confirmation)
        with pytest.raises(MigrationRefused, match="CONFIRM_PROD=1"):
            await migrate(fresh.owner, files(folder))
    assert await tables(fresh) is None
    assert len(await migrate(fresh.owner, files(folder), dry_run=True)) == 2
    monkeypatch.setenv("CONFIRM_PROD", "1")
    await migrate(fresh.owner, files(folder))
    assert await tables(fresh) == ["notes", "schema_migrations"]


@pytest.mark.parametrize("name", ["1_short.sql", "0001-notes.sql", "0001_Notes.sql", "notes.sql"])
def test_a_file_with_another_name_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(MigrationRefused, match=name):
        files(tmp_path)


async def run_command(urls: DatabaseUrls, folder: Path, *options: str) -> tuple[int, str]:
    """`migrate` as an operator types it; in a thread, because it runs an event loop of its own."""
    service = Service("service", ("api",), ServiceSettings, lambda _, __: pytest.fail("not served"), migrations=folder)
    environment = {"DATABASE_URL": urls.app, "SYSTEM_DATABASE_URL": urls.system, "OWNER_DATABASE_URL": urls.owner}
    invoke = CliRunner().invoke
    result = await asyncio.to_thread(invoke, command_line(service), ["migrate", *options], env=environment)
    return result.exit_code, result.output


async def test_the_command_tells_each_files_state_and_applies_only_without_options(
    fresh: DatabaseUrls, folder: Path
) -> None:
    for option, words in (("--status", "pending"), ("--dry-run", "would be applied")):
        code, output = await run_command(fresh, folder, option)
        assert (code, output.splitlines()[1]) == (0, f"service 0001_notes: {words}")
        assert await tables(fresh) is None
    assert await run_command(fresh, folder) == (
        0,
        "floor 0001_floor: applied\nservice 0001_notes: applied\nservice 0002_more_words: applied\n",
    )
    code, output = await run_command(fresh, folder, "--status")
    assert (code, output.splitlines()[2]) == (0, "service 0002_more_words: applied before")


async def test_the_command_explains_a_refusal_without_a_stack_trace(
    fresh: DatabaseUrls, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    code, output = await run_command(fresh, folder)
    assert code == 1
    assert "CONFIRM_PROD=1" in output
    assert "Traceback" not in output
