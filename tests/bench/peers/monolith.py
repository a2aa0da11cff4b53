"""Owns the peer: a booking monolith as a textbook writes it, honestly: FastAPI, async SQLAlchemy, response models.

It does less than the product and so is the stronger peer: no tokens, no idempotency, no events, no tenants, no log.
Three ways to book: with an exclusion constraint behind the check (`/bookings`, what P1 is compared with), with the
property's row locked (`/bookings/for-update`), and check-then-insert with nothing behind it
(`/bookings/check-then-insert`).
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, datetime, timedelta
from typing import Annotated, TypeVar
from uuid import UUID, uuid4

from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict, model_validator
from sqlalchemy import ForeignKey, Index, func, literal_column, select, text
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from tests.bench.traffic import SEEDED_FROM_DAY, first_night

POOL_SIZE = 10
MAX_OVERFLOW = 10


class Base(DeclarativeBase):
    """The peer's tables."""


class PropertyRow(Base):
    __tablename__ = "properties"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    max_occupancy: Mapped[int]
    booking_window_days: Mapped[int]
    active: Mapped[bool]


class GuestRow(Base):
    __tablename__ = "guests"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    name: Mapped[str]
    email: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Stay:
    """The columns of both booking tables."""

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    property_id: Mapped[UUID] = mapped_column(ForeignKey("properties.id"))
    guest_id: Mapped[UUID] = mapped_column(ForeignKey("guests.id"))
    check_in: Mapped[date]
    check_out: Mapped[date]
    adults: Mapped[int]
    children: Mapped[int]
    status: Mapped[str] = mapped_column(default="confirmed")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class BookingRow(Stay, Base):
    __tablename__ = "bookings"
    guest: Mapped[GuestRow] = relationship()
    __table_args__ = (
        ExcludeConstraint(
            ("property_id", "="),
            (text("daterange(check_in, check_out)"), "&&"),
            where=text("status = 'confirmed'"),
            using="gist",
            name="bookings_no_overlap",
        ),
    )


class UnguardedBookingRow(Stay, Base):
    __tablename__ = "bookings_unguarded"
    guest: Mapped[GuestRow] = relationship()
    __table_args__ = (Index("bookings_unguarded_of_property", "property_id", "check_in"),)


Row = TypeVar("Row", BookingRow, UnguardedBookingRow)


class GuestIn(BaseModel):
    name: str
    email: str


class Occupancy(BaseModel):
    adults: int
    children: int = 0


class BookingIn(BaseModel):
    property_id: UUID
    check_in: date
    check_out: date
    occupancy: Occupancy
    guest: GuestIn

    @model_validator(mode="after")
    def _whole_stay(self) -> BookingIn:
        if self.check_out <= self.check_in:
            raise ValueError("check_out must be after check_in")
        return self


class GuestOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: UUID
    name: str
    email: str


class BookingOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: UUID
    property_id: UUID
    check_in: date
    check_out: date
    adults: int
    children: int
    status: str
    created_at: datetime
    guest: GuestOut


class _Running:
    engine: AsyncEngine
    sessions: async_sessionmaker[AsyncSession]


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    _Running.engine = create_async_engine(
        os.environ["PEER_DATABASE_URL"], pool_size=POOL_SIZE, max_overflow=MAX_OVERFLOW, pool_timeout=30
    )
    _Running.sessions = async_sessionmaker(_Running.engine, expire_on_commit=False)
    yield
    await _Running.engine.dispose()


async def _session() -> AsyncIterator[AsyncSession]:
    async with _Running.sessions() as session:
        yield session


SessionOf = Annotated[AsyncSession, Depends(_session)]
app = FastAPI(lifespan=_lifespan)


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/bookings", status_code=201, response_model=BookingOut)
async def book(wanted: BookingIn, session: SessionOf) -> BookingRow:
    """Check, insert, commit; the exclusion constraint catches what the check missed."""
    await _check_property(session, wanted, lock=False)
    await _check_free(session, BookingRow, wanted)
    booking = BookingRow(**_columns(wanted), guest=await _guest(session, wanted))
    return await _stored(session, booking)


@app.post("/bookings/for-update", status_code=201, response_model=BookingOut)
async def book_for_update(wanted: BookingIn, session: SessionOf) -> UnguardedBookingRow:
    """Lock the property's row, check, insert, commit."""
    await _check_property(session, wanted, lock=True)
    await _check_free(session, UnguardedBookingRow, wanted)
    booking = UnguardedBookingRow(**_columns(wanted), guest=await _guest(session, wanted))
    return await _stored(session, booking)


@app.post("/bookings/check-then-insert", status_code=201, response_model=BookingOut)
async def book_unguarded(wanted: BookingIn, session: SessionOf) -> UnguardedBookingRow:
    """Check, insert, commit, with nothing that keeps two requests apart: it oversells."""
    await _check_property(session, wanted, lock=False)
    await _check_free(session, UnguardedBookingRow, wanted)
    booking = UnguardedBookingRow(**_columns(wanted), guest=await _guest(session, wanted))
    return await _stored(session, booking)


async def _check_property(session: AsyncSession, wanted: BookingIn, *, lock: bool) -> None:
    statement = select(PropertyRow).where(PropertyRow.id == wanted.property_id)
    owner = await session.scalar(statement.with_for_update() if lock else statement)
    if owner is None or not owner.active:
        raise HTTPException(404, "no such property")
    if wanted.occupancy.adults + wanted.occupancy.children > owner.max_occupancy:
        raise HTTPException(422, "too many guests")
    today = datetime.now().date()
    if wanted.check_in < today or wanted.check_out > today + timedelta(days=owner.booking_window_days):
        raise HTTPException(422, "outside the booking window")


async def _check_free(session: AsyncSession, table: type[BookingRow | UnguardedBookingRow], wanted: BookingIn) -> None:
    statement = select(table.id).where(
        table.property_id == wanted.property_id,
        # A literal: with a parameter PostgreSQL could not use the partial index in a prepared plan.
        table.status == literal_column("'confirmed'"),
        # Constraint and index are by range: the same expression, so that the look-up uses the index there is.
        func.daterange(table.check_in, table.check_out).op("&&")(func.daterange(wanted.check_in, wanted.check_out))
        if table is BookingRow
        else (table.check_in < wanted.check_out) & (table.check_out > wanted.check_in),
    )
    if await session.scalar(statement.limit(1)) is not None:
        raise HTTPException(409, "the dates are taken")


async def _guest(session: AsyncSession, wanted: BookingIn) -> GuestRow:
    guest = await session.scalar(select(GuestRow).where(GuestRow.email == wanted.guest.email))
    return guest or GuestRow(name=wanted.guest.name, email=wanted.guest.email)


async def _stored(session: AsyncSession, booking: Row) -> Row:
    session.add(booking)
    try:
        await session.commit()
    except IntegrityError as error:
        await session.rollback()
        raise HTTPException(409, "the dates are taken") from error
    return booking


def _columns(wanted: BookingIn) -> dict[str, object]:
    return {
        "property_id": wanted.property_id,
        "check_in": wanted.check_in,
        "check_out": wanted.check_out,
        "adults": wanted.occupancy.adults,
        "children": wanted.occupancy.children,
    }


async def create_tables(url: str, properties: int) -> None:
    """Make the peer's tables with that many properties, each with one booking behind the nights that are asked for."""
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.execute(text("CREATE EXTENSION IF NOT EXISTS btree_gist"))
        await connection.run_sync(Base.metadata.create_all)
        last, day = {"last": properties - 1}, {"day": first_night() + timedelta(days=SEEDED_FROM_DAY)}
        await connection.execute(text(_PROPERTIES), last)
        await connection.execute(text(_GUESTS), last)
        await connection.execute(text(_BOOKINGS), last | day)
    await engine.dispose()


_PROPERTIES = """
INSERT INTO properties SELECT md5('property ' || n)::uuid, 'Property ' || n, 4, 730, true
FROM generate_series(0, CAST(:last AS int)) AS n"""
_GUESTS = """
INSERT INTO guests (id, name, email) SELECT md5('guest ' || n)::uuid, 'Guest', n || '@seed'
FROM generate_series(0, CAST(:last AS int)) AS n"""
_BOOKINGS = """
INSERT INTO bookings (id, property_id, guest_id, check_in, check_out, adults, children, status)
SELECT md5('stay ' || n)::uuid, md5('property ' || n)::uuid, md5('guest ' || n)::uuid,
       CAST(:day AS date) + n % 20, CAST(:day AS date) + n % 20 + 3, 2, 0, 'confirmed'
FROM generate_series(0, CAST(:last AS int)) AS n"""
