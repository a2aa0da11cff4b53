"""Owns how a good body is spoiled: one value at a time, derived from the JSON Schema that booking publishes.

A schema that leaves something unbounded is an error here (`Unbounded`), so that a new field cannot be.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

Json = Any
Path = tuple[str | int, ...]

NUL = "a\x00b"
SURROGATE = "\ud800"
UNKNOWN = "unexpected"
BIGINT = 2**63


class Unbounded(AssertionError):
    """A field of a request has no bound in its schema."""


@dataclass(frozen=True)
class Spoiled:
    """A body with one thing wrong at `path`."""

    path: Path
    what: str
    body: Json


def spoiled(document: dict[str, Any], schema: dict[str, Any], goods: Sequence[Json]) -> Iterator[Spoiled]:
    """Every way to spoil good bodies of one schema; only fields they hold are spoiled, each field of a model once."""
    walk = _Walk(document)
    for good in goods:
        for path, value in walk.wrong(schema, good, ()):
            yield Spoiled(path, _shown(value), _with(good, path, value))


def fields_of(document: dict[str, Any], schema: dict[str, Any], prefix: Path = ()) -> set[Path]:
    """Every field a body may have, as paths in which an item of a list or map counts as `*`."""
    walk = _Walk(document)
    found: set[Path] = set()
    for option in walk.options(schema):
        for name, inner in option.get("properties", {}).items():
            found |= {(*prefix, name)} | fields_of(document, inner, (*prefix, name))
        for key in ("items", "additionalProperties"):
            if isinstance(option.get(key), dict):
                found |= fields_of(document, option[key], (*prefix, "*"))
    return found


def fields_in(body: Json, prefix: Path = ()) -> set[Path]:
    """The fields a body has, written as `fields_of` does."""
    found: set[Path] = set()
    items = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    for key, value in items:
        path = (*prefix, "*" if isinstance(key, int) or key.isdecimal() else key)
        found |= ({path} if path[-1] != "*" else set()) | fields_in(value, path)
    return found


class _Walk:
    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._spoiled: set[tuple[str, str]] = set()

    def resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        """What a reference stands for."""
        while "$ref" in schema:
            found: Any = self._document
            for part in schema["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            schema = found
        return schema

    def options(self, schema: dict[str, Any]) -> list[dict[str, Any]]:
        """The alternatives of a schema, without null."""
        schema = self.resolved(schema)
        choices = schema.get("anyOf") or schema.get("oneOf")
        if choices is None:
            return [schema] if schema.get("type") != "null" else []
        return [option for choice in choices for option in self.options(choice)]

    def _takes_null(self, schema: dict[str, Any]) -> bool:
        schema = self.resolved(schema)
        return schema.get("type") == "null" or any(map(self._takes_null, schema.get("anyOf", ())))

    def wrong(self, schema: dict[str, Any], good: Json, path: Path) -> Iterator[tuple[Path, Json]]:
        """Wrong values, each with where it goes."""
        options = self.options(schema)
        option = next((option for option in options if self._fits(option, good)), options[0])
        if not self._takes_null(schema):
            yield path, None
        kind = option.get("type", "string")
        for value in {"object": _NO_OBJECTS, "array": _NO_LISTS}.get(kind, _NO_SCALARS):
            yield path, value
        if kind == "object":
            yield from self._wrong_object(option, good, path)
        elif kind == "array":
            yield from self._wrong_list(option, good, path)
        else:
            for value in _WRONG[kind](option, path):
                yield path, value

    def _fits(self, option: dict[str, Any], good: Json) -> bool:
        if not isinstance(good, dict):
            return True
        return set(good) <= set(option.get("properties", good)) and all(
            good.get(name) in (rule.get("const"), *rule.get("enum", ()))
            for name, rule in option.get("properties", {}).items()
            if "const" in rule and name in good
        )

    def _wrong_object(self, option: dict[str, Any], good: Json, path: Path) -> Iterator[tuple[Path, Json]]:
        if "properties" in option:
            if option.get("additionalProperties") is not False:
                raise Unbounded(f"{path} takes unknown fields")
            for name in (UNKNOWN, NUL, SURROGATE):
                yield (*path, name), 1
        else:
            yield (*path, "unexpected"), copy.deepcopy(next(iter(good.values())))
        for name, value in good.items():
            if "properties" in option:
                if (option["title"], name) in self._spoiled:
                    continue
                self._spoiled.add((option["title"], name))
            inner = option["properties"][name] if "properties" in option else option["additionalProperties"]
            yield from self.wrong(inner, value, (*path, name))

    def _wrong_list(self, option: dict[str, Any], good: Json, path: Path) -> Iterator[tuple[Path, Json]]:
        if "maxItems" not in option:
            raise Unbounded(f"{path} takes lists of any length")
        least = self._least(option["items"], good[0])
        yield path, [least] * (option["maxItems"] + 1)
        if option.get("minItems"):
            yield path, []
        yield from self.wrong(option["items"], good[0], (*path, 0))

    def _least(self, schema: dict[str, Any], good: Json) -> Json:
        required = self.options(schema)[0].get("required", ())
        return {name: good[name] for name in required} if isinstance(good, dict) else good


_NO_SCALARS: tuple[Json, ...] = ([], {})
_NO_OBJECTS: tuple[Json, ...] = ([], "x")
_NO_LISTS: tuple[Json, ...] = ({}, "x")
_NO_DATES = ("1999-12-31", "2101-01-01", "2027-02-30", "20270131", "2027-01-31T00:00:00", "1801526400", "")


def _wrong_texts(option: dict[str, Any], path: Path) -> Iterator[Json]:
    yield from (5, True, NUL, SURROGATE)
    if option.get("format") == "date":
        yield from (*_NO_DATES, 1801526400, 1801526400.0)
    elif option.get("format") == "uuid":
        yield from ("", "0192f1c4-0000-7000-8000-00000000000g")
    elif "const" in option or "enum" in option:
        yield from ("", "something else", str(option.get("const", "x")) + "\n")
    elif option.get("pattern") and "maxLength" not in option:
        yield from ("", "\u00e9", "x" * 60_000, "EUR\n", "15:00\n", "25:00")
    elif "maxLength" in option:
        yield "a@" + "x" * (option["maxLength"] - 1)
        if option.get("minLength"):
            yield ""
    else:
        raise Unbounded(f"{path} takes a text of any length")


def _wrong_numbers(option: dict[str, Any], path: Path) -> Iterator[Json]:
    if "minimum" not in option or "maximum" not in option:
        raise Unbounded(f"{path} takes any number")
    yield from (option["minimum"] - 1, option["maximum"] + 1, BIGINT, -BIGINT - 1, 1e300)
    yield from (float("nan"), float("inf"), float("-inf"), True, str(option["minimum"]))


def _wrong_integers(option: dict[str, Any], path: Path) -> Iterator[Json]:
    yield from _wrong_numbers(option, path)
    yield option["minimum"] + 0.5


def _wrong_flags(_: dict[str, Any], __: Path) -> Iterator[Json]:
    yield from (1, "true")


_WRONG = {
    "string": _wrong_texts,
    "integer": _wrong_integers,
    "number": _wrong_numbers,
    "boolean": _wrong_flags,
}


def _with(good: Json, path: Path, value: Json) -> Json:
    if not path:
        return value
    changed = copy.deepcopy(good)
    target = changed
    for part in path[:-1]:
        target = target[part]
    target[path[-1]] = value
    return changed


def _shown(value: Json) -> str:
    text = ascii(value)
    return text if len(text) < 60 else f"{text[:60]}... of {len(text)}"
