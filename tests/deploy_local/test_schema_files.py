"""The committed schema files are what the migrations add up to."""

import pytest

from deploy.local.prepare import migrate_databases
from deploy.local.schema import SCHEMA_FILES, dump_schema
from tests.conftest import Provisioned

pytestmark = pytest.mark.stack


@pytest.mark.parametrize("service", sorted(SCHEMA_FILES))
async def test_the_schema_file_is_what_the_migrations_add_up_to(service: str, provisioned: Provisioned) -> None:
    await migrate_databases(provisioned.databases)
    dumped = dump_schema(provisioned.databases.owners()[service])
    committed = SCHEMA_FILES[service].read_text(encoding="utf-8")
    assert dumped == committed, f"{service}: run `make schema` and commit the file"
