"""Says what a change of a JSON Schema breaks; called by `python -m contracts` before it overwrites a schema. Pure.

A `*_v1` model only ever gains optional fields. On topics nothing else may change: producers and consumers of both
versions run side by side. Over HTTP an enumeration or a bound may also become wider. A new model is no change of one.
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

Schema = Mapping[str, Any]

_ANNOTATIONS = frozenset({"$id", "$schema", "$defs", "title", "description", "examples", "deprecated"})
_LOWER_BOUNDS = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"})
_UPPER_BOUNDS = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"})


def incompatibilities(old: Schema, new: Schema, *, may_widen: bool = False) -> list[str]:
    """Everything in `new` a reader or writer of `old` cannot live with, one sentence each; empty when compatible.

    Both are documents of `contracts.generate`: the models stand under `oneOf` or `anyOf` with their titles, or the
    document is one model.
    """
    comparison = _Comparison(old, new, may_widen)
    found: list[str] = []
    after = _models(new)
    for name, model in _models(old).items():
        if name not in after:
            found.append(f"{name}: the model was removed")
        else:
            found += comparison.compare(name, model, after[name])
    return found


def _models(document: Schema) -> dict[str, Schema]:
    listed = document.get("oneOf") or document.get("anyOf")
    whole = {key: value for key, value in document.items() if key not in ("oneOf", "anyOf")}
    if not listed:
        return {str(document["title"]): whole}
    return {str(document["title"]): whole, **{str(model["title"]): model for model in listed}}


class _Comparison:
    """Walks two documents side by side, following the references of each into its own `$defs`."""

    def __init__(self, old: Schema, new: Schema, may_widen: bool) -> None:
        self._old = old
        self._new = new
        self._may_widen = may_widen
        self._open: set[tuple[str, str]] = set()

    def compare(self, path: str, old: Schema, new: Schema) -> Iterator[str]:
        """The incompatibilities of two nodes and all below them."""
        pair = (str(old.get("$ref")), str(new.get("$ref")))
        if pair in self._open:  # a model that contains itself
            return
        followed = {pair} if "$ref" in old and "$ref" in new else set()
        self._open |= followed
        yield from self._nodes(path, _followed(self._old, old), _followed(self._new, new))
        self._open -= followed

    def _nodes(self, path: str, old: Schema, new: Schema) -> Iterator[str]:
        yield from self._fields(path, old, new)
        for keyword in sorted((old.keys() | new.keys()) - _ANNOTATIONS - {"properties", "required"}):
            before, after = old.get(keyword), new.get(keyword)
            if keyword == "default":
                if ("default" in old) != ("default" in new) or not _contains(after, before):
                    yield f"{path}: default changed from {before!r} to {after!r}"
            elif isinstance(before, dict) and isinstance(after, dict):
                yield from self.compare(f"{path}.{keyword}", before, after)
            elif _are_schemas(before) and _are_schemas(after) and len(before) == len(after):
                for index, (left, right) in enumerate(zip(before, after, strict=True)):
                    yield from self.compare(f"{path}.{keyword}[{index}]", left, right)
            elif before != after and not (self._may_widen and _widens(keyword, before, after)):
                yield f"{path}: {keyword} changed from {before!r} to {after!r}"

    def _fields(self, path: str, old: Schema, new: Schema) -> Iterator[str]:
        before, after = old.get("properties", {}), new.get("properties", {})
        must_before, must_after = set(old.get("required", ())), set(new.get("required", ()))
        for name in before:
            if name not in after:
                yield f"{path}: field {name} was removed"
            else:
                yield from self.compare(f"{path}.{name}", before[name], after[name])
        for name in sorted(must_after - must_before):
            change = "became required" if name in before else "is new and required"
            yield f"{path}: field {name} {change}"
        for name in sorted((must_before - must_after) & set(after)):
            yield f"{path}: field {name} is no longer required"


def _followed(document: Schema, node: Schema) -> dict[str, Any]:
    found = dict(node)
    while "$ref" in found:
        name = found.pop("$ref").removeprefix("#/$defs/")
        found = {**document["$defs"][name], **found}
    if "const" in found:  # an enumeration of one value is written this way
        found["enum"] = [found.pop("const")]
    return found


def _are_schemas(value: object) -> TypeGuard[list[Schema]]:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _contains(whole: object, part: object) -> bool:
    # The default of a nested model lists its fields, so it grows with them.
    if isinstance(whole, dict) and isinstance(part, dict):
        return all(key in whole and _contains(whole[key], part[key]) for key in part)
    return whole == part


def _widens(keyword: str, before: Any, after: Any) -> bool:
    if before is None:
        return False
    if keyword == "enum":
        return after is None or set(before) <= set(after)
    if keyword in _LOWER_BOUNDS:
        return after is None or after <= before
    if keyword in _UPPER_BOUNDS:
        return after is None or after >= before
    return False
