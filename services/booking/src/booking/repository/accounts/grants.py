"""Grants as two columns, and rows that must exist; used by the other modules of this package."""

from uuid import UUID

from booking.domain.accounts import Grant
from runtime.postgres import Row


def grant_from(roles: list[str], property_ids: list[UUID] | None) -> Grant:
    """The grant of two columns."""
    return Grant(frozenset(roles), frozenset(property_ids) if property_ids is not None else None)


def grant_parameters(grant: Grant) -> tuple[list[str], list[UUID] | None]:
    """A grant as the values of its two columns."""
    return sorted(grant.roles), sorted(grant.property_ids) if grant.property_ids is not None else None


def present(row: Row | None) -> Row:
    """The row of a statement that always answers one."""
    assert row is not None
    return row
