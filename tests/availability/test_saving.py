"""Proves the snapshot file: what was saved is what is taken up, and anything less than a whole file is refused."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from availability.domain.positions import Place
from availability.domain.property_calendar import CalendarState
from availability.domain.store.property_store import PropertyStore
from availability.service.cache import Cache
from availability.service.saving import Saving
from availability.snapshots.file import Done, Head, SnapshotWriter
from tests.availability.making import DAY, NOW, TODAY, make_state
from tests.availability.packing import packed

PLACES = (Place("booking.reservations.v1", 0, 17, 16, UUID(int=3)), Place("booking.properties.v1", 0, 4))
PROPERTIES = 1100
"""More than one part of the file."""


def filled(seed: int) -> tuple[PropertyStore, dict[UUID, CalendarState]]:
    """A store in which properties came and went, and what it holds."""
    chance, store = random.Random(seed), PropertyStore(TODAY - DAY * 2)
    states = {}
    for number in range(PROPERTIES):
        property_id = UUID(int=chance.getrandbits(128))
        states[property_id] = make_state(chance, UUID(int=number % 7), chance.randint(1, 99))
        store.put(property_id, number % 6, states[property_id])
    for property_id in chance.sample(list(states), PROPERTIES // 10):
        store.remove(property_id)
        del states[property_id]
    return store, states


def names(directory: Path) -> list[str]:
    return [found.name for found in directory.iterdir()]


async def anything(_: Sequence[Place]) -> str | None:
    return None


async def write(path: Path, store: PropertyStore, unfinished: Sequence[UUID] = ()) -> None:
    rows = [row for key in unfinished if (row := store.find(key)) is not None]
    async with SnapshotWriter(path) as writer:
        await writer.write_head(Head(store.taken.first, PLACES))
        for start in range(0, store.row_count, 1024):
            await writer.write_part(store.dump(start, rows))
        await writer.finish(Done(tuple(unfinished)))


def assert_holds(store: PropertyStore, states: dict[UUID, CalendarState]) -> None:
    assert len(store) == len(states)
    for property_id, wanted in states.items():
        row = store.find(property_id)
        assert row is not None
        found = store.state(row)
        assert (found.terms, found.profile, found.version) == (wanted.terms, wanted.profile, wanted.version)
        assert (found.is_gone, found.agency_id) == (wanted.is_gone, wanted.agency_id)
        assert packed(found.ranges.stored).digest(TODAY - DAY * 99) == wanted.ranges.digest(TODAY - DAY * 99)
        assert store.taken.bits_agree(row)
    for agency_id in {state.agency_id for state in states.values()}:
        mine = {key for key, state in states.items() if state.agency_id == agency_id and not state.is_gone}
        assert set(store.ids(store.rows_of(agency_id))) == mine


async def test_what_was_saved_is_taken_up(tmp_path: Path) -> None:
    store, states = filled(1)
    path = tmp_path / "deep" / "cache.snapshot"
    await write(path, store)
    cache = Cache(6)
    assert await Saving(cache, path).load(anything) == PLACES
    assert_holds(cache.store, states)
    assert cache.store.taken.first == store.taken.first
    assert names(path.parent) == ["cache.snapshot"]


async def test_a_store_that_was_taken_up_goes_on_like_any_other(tmp_path: Path) -> None:
    store, states = filled(2)
    await write(tmp_path / "file", store)
    cache, chance = Cache(6), random.Random(5)
    await Saving(cache, tmp_path / "file").load(anything)
    for property_id in chance.sample(list(states), 500):
        if chance.random() < 0.3:
            cache.store.remove(property_id)
            del states[property_id]
        else:
            states[property_id] = make_state(chance, UUID(int=chance.randrange(9)), 100)
            cache.store.put(property_id, 1, states[property_id])
    for number in range(100):
        states[UUID(int=number)] = make_state(chance, UUID(int=3), 1)
        cache.store.put(UUID(int=number), 1, states[UUID(int=number)])
    assert_holds(cache.store, states)
    cache.store.taken.roll(TODAY + DAY * 30)
    for row in cache.store.rows_in(0, cache.store.row_count).tolist():
        cache.store.taken.refill(row)
    cache.store.taken.refilled()
    assert_holds(cache.store, states)


async def test_a_property_that_is_not_complete_is_asked_of_booking_after_the_start(tmp_path: Path) -> None:
    store, states = filled(3)
    parked, incomplete, unknown = *list(states)[:2], UUID(int=5)
    row = store.find(parked)
    assert row is not None
    store.park(row, is_parked=True)
    await write(tmp_path / "file", store, [parked, incomplete, unknown])
    cache = Cache(6)
    await Saving(cache, tmp_path / "file").load(anything)
    assert set(cache.wanted) == {parked, incomplete, unknown}
    del states[parked], states[incomplete]
    assert_holds(cache.store, states)


async def test_a_damaged_file_is_refused_whatever_is_wrong(tmp_path: Path) -> None:
    chance, path = random.Random(4), tmp_path / "file"
    store, _ = filled(4)
    await write(path, store)
    whole = path.read_bytes()
    for attempt in range(40):
        at = chance.choice((chance.randrange(len(whole)), chance.randrange(400), len(whole) - chance.randint(1, 40)))
        flipped = whole[:at] + bytes([whole[at] ^ 1 << chance.randrange(8)]) + whole[at + 1 :]
        path.write_bytes(whole[:at] if attempt % 2 else flipped)
        cache = Cache(6)
        before = cache.store
        assert await Saving(cache, path).load(anything) == ()
        assert cache.store is before
        assert len(before) == 0


async def test_a_file_of_another_format_and_one_that_ends_before_its_end_are_refused(tmp_path: Path) -> None:
    store, _ = filled(5)
    path, cache = tmp_path / "file", Cache(6)
    async with SnapshotWriter(path) as writer:
        await writer.write_head(Head(store.taken.first, PLACES, format=99))
        await writer.finish(Done(()))
    assert await Saving(cache, path).load(anything) == ()
    async with SnapshotWriter(path) as writer:
        await writer.write_head(Head(store.taken.first, PLACES))
        await writer.write_part(store.dump(1024, ()))
        await writer.finish(Done(()))
    assert await Saving(cache, path).load(anything) == ()
    path.write_bytes(b"")
    assert await Saving(cache, path).load(anything) == ()
    path.write_bytes(b"not a snapshot at all, but long enough for a header" * 9)
    assert await Saving(cache, path).load(anything) == ()


async def test_a_foreign_file_is_refused_before_anything_of_it_is_taken(tmp_path: Path) -> None:
    store, _ = filled(6)
    await write(tmp_path / "file", store)
    cache, asked = Cache(6), list[Place]()

    async def not_ours(places: Sequence[Place]) -> str | None:
        asked.extend(places)
        return "another event is there"

    assert await Saving(cache, tmp_path / "file").load(not_ours) == ()
    assert (tuple(asked), len(cache.store)) == (PLACES, 0)


async def test_a_file_that_was_not_finished_leaves_the_older_one(tmp_path: Path) -> None:
    store, states = filled(7)
    path, cache = tmp_path / "file", Cache(6)
    await write(path, store)
    with suppress(ZeroDivisionError):
        async with SnapshotWriter(path) as writer:
            await writer.write_head(Head(store.taken.first, PLACES))
            raise ZeroDivisionError
    assert names(tmp_path) == ["file"]
    await Saving(cache, path).load(anything)
    assert_holds(cache.store, states)


async def test_a_replica_that_cannot_vouch_for_everything_writes_no_file(tmp_path: Path) -> None:
    cache = Cache(6)
    saving = Saving(cache, tmp_path / "file")
    await saving.save(lambda: PLACES)
    assert not (tmp_path / "file").exists()


async def test_properties_change_while_the_file_is_written_and_each_is_in_it_whole(tmp_path: Path) -> None:
    store, states = filled(8)
    cache, chance = Cache(6), random.Random(8)
    cache.take_up(store, ())
    cache.report_caught_up()
    for partition in range(6):
        cache.apply_watermark(partition, NOW)
    path = tmp_path / "file"
    saving = asyncio.create_task(Saving(cache, path).save(lambda: PLACES))
    newer = dict(states)
    while not saving.done():
        property_id = chance.choice(list(states))
        newer[property_id] = make_state(chance, states[property_id].agency_id, newer[property_id].version + 1)
        store.put(property_id, 0, newer[property_id])
        await asyncio.sleep(0)
    await saving
    other = Cache(6)
    assert await Saving(other, path).load(anything) == PLACES
    assert len(other.store) == len(states)
    for property_id in states:
        row = other.store.find(property_id)
        assert row is not None
        assert states[property_id].version <= other.store.version(row) <= newer[property_id].version
        assert other.store.taken.bits_agree(row)
