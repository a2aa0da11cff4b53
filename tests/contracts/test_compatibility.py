"""A v1 contract only ever gains optional fields: every other change is planted here and refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, create_model

from contracts.compatibility import incompatibilities
from contracts.generate import schemas

Document = dict[str, Any]
GENERATED = schemas()


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Inner(BaseModel):
    size: int
    shade: str | None = None


class Outer(BaseModel):
    name: Annotated[str, Field(min_length=1, max_length=10, pattern="^a")]
    count: Annotated[int, Field(ge=1, le=5)]
    day: date
    colour: Colour
    mode: Literal["one"]
    note: str | None = None
    inner: Inner
    defaulted: Inner = Inner(size=1)
    many: Annotated[list[Inner], Field(max_length=3)] = Field(default_factory=list)
    by_day: dict[int, Inner] = Field(default_factory=dict)


def schema_of(model: type[BaseModel]) -> Document:
    return model.model_json_schema()


def changed(**fields: Any) -> Document:
    """The schema of `Outer` with some fields defined anew; None drops one."""
    kept: dict[str, Any] = {
        name: (info.annotation, info) for name, info in Outer.model_fields.items() if name not in fields
    }
    added = {name: definition for name, definition in fields.items() if definition is not None}
    return schema_of(create_model("Outer", **{**kept, **added}))


def edited(edit: Callable[[Document], None]) -> Document:
    document = copy.deepcopy(schema_of(Outer))
    edit(document)
    return document


def of_inner(name: str, schema: Document, *, required: bool) -> Document:
    def edit(document: Document) -> None:
        inner = document["$defs"]["Inner"]
        inner["properties"][name] = schema
        inner["required"] = [*inner.get("required", []), *([name] if required else [])]

    return edited(edit)


OLD = schema_of(Outer)

INCOMPATIBLE: dict[str, tuple[Document, str]] = {
    "a field was removed": (changed(note=None), "field note was removed"),
    "a required field was removed": (changed(day=None), "field day was removed"),
    "a new field is required": (changed(extra=(int, ...)), "field extra is new and required"),
    "an optional field became required": (changed(note=(str | None, ...)), "field note became required"),
    "a required field became optional": (changed(day=(date, date(2026, 1, 1))), "field day is no longer required"),
    "a type changed": (changed(count=(str, ...)), "Outer.count: type changed from 'integer' to 'string'"),
    "a format was added": (edited(lambda d: d["properties"]["name"].update(format="uuid")), "format changed"),
    "a format was dropped": (edited(lambda d: d["properties"]["day"].pop("format")), "format changed"),
    "a type became nullable": (changed(day=(date | None, ...)), "Outer.day: anyOf changed"),
    "a nullable type became strict": (changed(note=(str, "")), "Outer.note: anyOf changed"),
    "a lower bound rose": (changed(count=(Annotated[int, Field(ge=2, le=5)], ...)), "minimum changed from 1 to 2"),
    "an upper bound fell": (changed(count=(Annotated[int, Field(ge=1, le=4)], ...)), "maximum changed from 5 to 4"),
    "a bound was added": (edited(lambda d: d["properties"]["day"].update(maxLength=3)), "maxLength changed"),
    "a text became shorter": (edited(lambda d: d["properties"]["name"].update(maxLength=9)), "maxLength changed"),
    "a pattern changed": (edited(lambda d: d["properties"]["name"].update(pattern="^b")), "pattern changed"),
    "a list became shorter": (edited(lambda d: d["properties"]["many"].update(maxItems=2)), "maxItems changed"),
    "an enumeration lost a value": (
        edited(lambda d: d["$defs"]["Colour"].update(enum=["red"])),
        "Outer.colour: enum changed",
    ),
    "a constant changed": (changed(mode=(Literal["two"], ...)), "Outer.mode: enum changed"),
    "a default changed": (changed(defaulted=(Inner, Inner(size=2))), "Outer.defaulted: default changed"),
    "a default was added": (edited(lambda d: d["properties"]["count"].update(default=3)), "default changed"),
    "unknown fields became an error": (edited(lambda d: d.update(additionalProperties=False)), "additionalProperties"),
    "a nested field was removed": (
        edited(lambda d: d["$defs"]["Inner"]["properties"].pop("shade")),
        "Outer.inner: field shade was removed",
    ),
    "a nested new field is required": (
        of_inner("extra", {"type": "integer"}, required=True),
        "Outer.many.items: field extra is new and required",
    ),
    "a field points to another model": (changed(inner=(Colour, ...)), "Outer.inner"),
    "an item's type changed": (changed(many=(list[int], ...)), "Outer.many"),
    "a mapping's value changed": (changed(by_day=(dict[int, str], ...)), "Outer.by_day"),
}


@pytest.mark.parametrize("change", INCOMPATIBLE)
@pytest.mark.parametrize("may_widen", [False, True])
def test_an_incompatible_change_is_refused_and_named(change: str, may_widen: bool) -> None:
    new, sentence = INCOMPATIBLE[change]
    found = incompatibilities(OLD, new, may_widen=may_widen)
    assert any(sentence in one for one in found), found


WIDER: dict[str, Document] = {
    "an enumeration gained a value": edited(lambda d: d["$defs"]["Colour"]["enum"].append("green")),
    "an enumeration became any text": edited(lambda d: d["$defs"]["Colour"].pop("enum")),
    "a constant became an enumeration": changed(mode=(Literal["one", "two"], ...)),
    "a lower bound fell": changed(count=(Annotated[int, Field(ge=0, le=5)], ...)),
    "an upper bound rose": changed(count=(Annotated[int, Field(ge=1, le=6)], ...)),
    "an upper bound was dropped": changed(count=(Annotated[int, Field(ge=1)], ...)),
}


@pytest.mark.parametrize("change", WIDER)
def test_a_wider_value_is_refused_on_a_topic_and_allowed_over_http(change: str) -> None:
    assert incompatibilities(OLD, WIDER[change])
    assert incompatibilities(OLD, WIDER[change], may_widen=True) == []


COMPATIBLE: dict[str, Document] = {
    "nothing changed": schema_of(Outer),
    "an optional field was added": changed(extra=(int | None, None)),
    "an optional list was added": changed(extra=(list[Inner], Field(default_factory=list))),
    "a nested optional field was added": of_inner("extra", {"type": "integer", "default": 0}, required=False),
    "a description changed": edited(lambda d: d["properties"]["name"].update(description="new words", title="x")),
    "fields stand in another order": edited(
        lambda d: d.update(properties=dict(reversed(d["properties"].items())), required=d["required"][::-1])
    ),
    "the default of a nested model lists a field more": edited(
        lambda d: d["properties"]["defaulted"]["default"].update(extra=None)
    ),
}


@pytest.mark.parametrize("change", COMPATIBLE)
def test_a_compatible_change_passes(change: str) -> None:
    assert incompatibilities(OLD, COMPATIBLE[change]) == []


def test_a_removed_model_is_refused_and_a_new_one_is_not() -> None:
    old = GENERATED["booking.reservations.v1.json"]
    new = copy.deepcopy(old)
    removed = new["oneOf"].pop(0)["title"]
    assert incompatibilities(old, new) == [f"{removed}: the model was removed"]
    assert incompatibilities(new, old) == []


@pytest.mark.parametrize("name", sorted(GENERATED))
def test_every_generated_document_is_compatible_with_itself_and_not_with_one_where_a_model_lost_a_field(
    name: str,
) -> None:
    old = GENERATED[name]
    assert incompatibilities(old, old) == []
    models = {title: schema for title, schema in old["$defs"].items() if schema.get("properties")}
    assert models
    for title, schema in models.items():
        *kept, lost = schema["properties"]
        poorer = {**schema, "properties": {field: schema["properties"][field] for field in kept}}
        new = {**old, "$defs": {**old["$defs"], title: poorer}}
        assert any(f"field {lost} was removed" in one for one in incompatibilities(old, new)), (title, lost)


def test_a_model_that_contains_itself_is_walked_once() -> None:
    class Tree(BaseModel):
        value: int
        children: list[Tree] = Field(default_factory=list)

    Tree.model_rebuild(_types_namespace={"Tree": Tree})
    old = {"title": "Tree", **Tree.model_json_schema()}
    new = copy.deepcopy(old)
    new["$defs"]["Tree"]["properties"]["value"]["type"] = "string"
    assert incompatibilities(old, old) == []
    assert len(incompatibilities(old, new)) == 1
