"""The snapshot file of a replica: what it knew at a place of the topics, for a quick start; called by the service.

The file is a row of frames, each a tag, a length, a checksum and that many bytes: one HEAD, any number of PARTs of
properties, one DONE. It is written under another name, synced and renamed, so that a file under the right name is a
whole one; what lacks its DONE or fails a checksum is refused all the same.
"""

import asyncio
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from struct import Struct
from types import TracebackType
from typing import Any, BinaryIO, Self
from uuid import UUID

import numpy as np
from numpy.lib.format import descr_to_dtype, dtype_to_descr
from pydantic import TypeAdapter, ValidationError

from availability.domain.positions import Place
from availability.domain.selling.selling_table import Levels, RateLevels
from availability.domain.store.property_store import Part
from rules.calendar import StoredRange
from rules.rates import Fees
from rules.stay_rules import SellingConditions

FORMAT = 2
FRAME = Struct("<4sQI")
LENGTH = Struct("<I")
HEAD, PART, DONE = b"HEAD", b"PART", b"DONE"
LONGEST_FRAME = 2**30

VALUES: Mapping[str, TypeAdapter[Any]] = {
    "conditions": TypeAdapter(dict[int, tuple[SellingConditions, str]]),
    "levels": TypeAdapter(dict[int, Levels]),
    "rate_levels": TypeAdapter(dict[int, RateLevels]),
    "fees": TypeAdapter(dict[int, Fees]),
    "agency": TypeAdapter(dict[int, UUID]),
    "amenities": TypeAdapter(dict[int, frozenset[str]]),
}
WHOLE = TypeAdapter(dict[int, tuple[StoredRange, ...]])


class SnapshotRefused(Exception):
    """A snapshot file cannot be used."""


@dataclass(frozen=True, slots=True)
class Head:
    """What a file begins with: its format, the first night that had bits, and what the properties contain at least."""

    first: date
    places: tuple[Place, ...]
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Done:
    """What a file ends with: properties that are not in it and must be asked of booking."""

    unfinished: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class _Layout:
    """What a part's bytes are: names, types and shapes of arrays one behind the other, and values as JSON."""

    start: int
    arrays: tuple[tuple[str, Any, tuple[int, ...]], ...]
    values: dict[str, str]
    whole: str


_HEAD, _DONE, _LAYOUT = TypeAdapter(Head), TypeAdapter(Done), TypeAdapter(_Layout)


class SnapshotWriter:
    """Writes one file; use it as a context manager and `finish` it, or there is no file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # Always the same, so that what a killed process left is written over.
        self._temporary = path.with_name(f"{path.name}.tmp")

    async def __aenter__(self) -> Self:
        """Begin; raises OSError."""
        self._file: BinaryIO = await asyncio.to_thread(self._open)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Leave nothing behind that was not finished."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    async def write_head(self, head: Head) -> None:
        """The first frame."""
        await self._write(HEAD, _HEAD.dump_json(head))

    async def write_part(self, part: Part) -> None:
        """Some more properties."""
        await self._write(PART, *_encoded(part))

    async def finish(self, done: Done) -> None:
        """The last frame; then the file takes the place of an older one."""
        await self._write(DONE, _DONE.dump_json(done))
        await asyncio.to_thread(self._publish)

    async def _write(self, tag: bytes, *pieces: bytes) -> None:
        await asyncio.to_thread(self._append, tag, pieces)

    def _open(self) -> BinaryIO:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        return self._temporary.open("wb")

    def _append(self, tag: bytes, pieces: Sequence[bytes]) -> None:
        checksum = 0
        for piece in pieces:
            checksum = zlib.crc32(piece, checksum)
        self._file.write(FRAME.pack(tag, sum(map(len, pieces)), checksum))
        self._file.writelines(pieces)

    def _publish(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._temporary.replace(self._path)
        directory = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


class SnapshotReader:
    """Reads one file front to back: `head`, then `parts`, then `done`; each raises `SnapshotRefused`."""

    def __init__(self, file: BinaryIO) -> None:
        self._frames = _frames(file)
        self._next: tuple[bytes, bytes] = next(self._frames)

    def head(self) -> Head:
        """What the file was written at."""
        head: Head = self._decoded(HEAD, _HEAD)
        if head.format != FORMAT:
            raise SnapshotRefused(f"it has format {head.format}, not {FORMAT}")
        return head

    def parts(self) -> Iterator[Part]:
        """The properties."""
        while self._next[0] == PART:
            yield _decoded(self._next[1])
            self._next = next(self._frames)

    def done(self) -> Done:
        """What is not in it; with this the file is a whole one."""
        done: Done = self._decoded(DONE, _DONE)
        return done

    def _decoded(self, tag: bytes, adapter: TypeAdapter[Any]) -> Any:
        found, payload = self._next
        if found != tag:
            raise SnapshotRefused(f"{found!r} where {tag!r} belongs")
        try:
            value = adapter.validate_json(payload)
        except ValidationError as error:
            raise SnapshotRefused(f"its {tag.decode()} cannot be read") from error
        if tag == HEAD:
            self._next = next(self._frames)
        return value


def _frames(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """The frames; the end of the file is no frame but damage, for the last frame says that it is the last."""
    while True:
        header = file.read(FRAME.size)
        if len(header) < FRAME.size:
            raise SnapshotRefused("it ends too early")
        tag, length, checksum = FRAME.unpack(header)
        if tag not in (HEAD, PART, DONE) or length > LONGEST_FRAME:
            raise SnapshotRefused("it is damaged: no frame where one begins")
        payload = file.read(length)
        if len(payload) < length:
            raise SnapshotRefused("it ends too early")
        if zlib.crc32(payload) != checksum:
            raise SnapshotRefused("it is damaged: a checksum is wrong")
        yield tag, payload


def _encoded(part: Part) -> list[bytes]:
    arrays = {name: np.ascontiguousarray(found) for name, found in part.arrays.items()}
    layout = _Layout(
        part.start,
        tuple((name, dtype_to_descr(found.dtype), found.shape) for name, found in arrays.items()),
        {name: VALUES[name].dump_json(found).decode() for name, found in part.values.items()},
        WHOLE.dump_json(dict(part.whole)).decode(),
    )
    text = _LAYOUT.dump_json(layout)
    return [LENGTH.pack(len(text)), text, *(found.tobytes() for found in arrays.values())]


def _decoded(payload: bytes) -> Part:
    (length,) = LENGTH.unpack_from(payload)
    try:
        layout = _LAYOUT.validate_json(payload[LENGTH.size : LENGTH.size + length])
        arrays, at = {}, LENGTH.size + length
        for name, descr, shape in layout.arrays:
            dtype, count = descr_to_dtype(_with_tuples(descr)), int(np.prod(shape))
            arrays[name] = np.frombuffer(payload, dtype, count, at).reshape(shape)
            at += count * dtype.itemsize
        values = {name: VALUES[name].validate_json(text) for name, text in layout.values.items()}
        return Part(layout.start, arrays, values, WHOLE.validate_json(layout.whole))
    except (ValidationError, ValueError, KeyError, TypeError) as error:
        raise SnapshotRefused("a part cannot be read") from error


def _with_tuples(descr: Any) -> Any:
    """A type's description as numpy wants it: JSON has lists only."""
    if isinstance(descr, str):
        return descr
    return [(name, kind, *(tuple(shape) for shape in shapes)) for name, kind, *shapes in descr]
