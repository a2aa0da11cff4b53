"""Records of `booking.properties.v1` (compacted): the whole state of one property at a version, written by booking."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from contracts.values import EventModel, InventoryRange, InventoryVersion, PropertyProfile, Rates, StayRules


class PropertySnapshot(EventModel):
    """Everything a consumer needs to replace what it holds of one property; also the body of booking's state answer.

    `rules_version` is the version of the last change of profile, stay rules or rates. `gone` is true for a deleted
    property; it is published for 30 days, then a null follows, while the state answer says `gone` for ever. `ranges`
    are the active stored ranges that end today (UTC) minus two days or later.
    """

    property_id: UUID
    agency_id: UUID
    inventory_version: InventoryVersion
    rules_version: InventoryVersion
    gone: bool = False
    profile: PropertyProfile
    stay_rules: StayRules = StayRules()
    rates: Rates = Rates()
    ranges: list[InventoryRange] = Field(default_factory=list)


class DeltaOffset(EventModel):
    """Every delta of this partition below `delta_offset` is contained in the snapshots before this record."""

    partition: int
    delta_offset: Annotated[int, Field(ge=0)]
