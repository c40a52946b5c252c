"""The reference of a custom resource, from the schema of its CustomResourceDefinition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

OF_KUBERNETES = frozenset({"apiVersion", "kind", "metadata"})
"""Fields of every resource, which Kubernetes documents."""


def page(definition: Schema, policy: Schema | None = None) -> str:
    """The page of one resource, with what *policy* refuses of it besides."""
    spec = definition["spec"]
    names, (version,) = spec["names"], spec["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    plural, short = names["plural"], names["shortNames"][0]
    parts = [
        f"# {names['kind']}\n\n{schema['description']}",
        f"`{spec['group']}/{version['name']}`, {spec['scope'].lower()}; "
        f"`kubectl get {plural}`, or `{short}` for short.",
        _columns(version["additionalPrinterColumns"]),
    ]
    selectable = [field["jsonPath"] for field in version.get("selectableFields", ())]
    if selectable:
        parts.append(
            f"`kubectl get {plural} --field-selector` takes "
            + ", ".join(f"`{path.removeprefix('.')}`" for path in selectable)
            + "."
        )
    for path, part in _objects("", schema):
        if path:
            parts.append(_section(path, part))
    # The same words may stand at several fields, and in the policy.
    rules = dict.fromkeys([*_rules(schema), *_words_of(policy)])
    if rules:
        parts.append("## What is refused\n\nThe API server answers a request in these words:")
        parts.append("\n".join(f"- {words}" for words in rules))
    return "\n\n".join(parts) + "\n"


def undescribed(path: str, schema: Schema) -> Iterator[str]:
    """Paths of all fields below *path* that do not say what they mean."""
    for name, child in fields(schema):
        below = f"{path}.{name}" if path else name
        if not child.get("description", "").strip():
            yield below
        yield from undescribed(below, child)


def fields(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """The fields of an object, or of the objects in a list, that are not every resource's."""
    properties = schema.get("items", schema).get("properties", {})
    for name, child in properties.items():
        if name not in OF_KUBERNETES:
            yield name, child


def _objects(path: str, schema: Schema) -> Iterator[tuple[str, Schema]]:
    yield path, schema
    for name, child in fields(schema):
        if "properties" in child.get("items", child):
            suffix = "[]" if "items" in child else ""
            yield from _objects(f"{path}.{name}{suffix}".removeprefix("."), child)


def _columns(columns: list[Schema]) -> str:
    rows = [
        f"| {column['name'].upper()} | `{column['jsonPath'].removeprefix('.')}` | "
        f"{'with `-o wide`' if column.get('priority') else ''} |"
        for column in columns
    ]
    return "\n".join(["| column | field | |", "|---|---|---|", *rows])


def _section(path: str, schema: Schema) -> str:
    level = "#" * min(path.count(".") + 2, 4)
    required = schema.get("items", schema).get("required", ())
    rows = [
        f"| `{name}`{' *' if name in required else ''} | {_type(child)} | {_meaning(child)} |"
        for name, child in fields(schema)
    ]
    table = "\n".join(["| field | type | meaning |", "|---|---|---|", *rows])
    starred = "\n\n\\* has to be given." if required else ""
    return f"{level} {path}\n\n{schema['description']}\n\n{table}{starred}"


def _type(schema: Schema) -> str:
    kind = schema["type"]
    if kind == "array":
        return f"list of {_type(schema['items'])}"
    if "additionalProperties" in schema:
        return f"map to {_type(schema['additionalProperties'])}"
    if schema.get("format") == "date-time":
        return "time"
    return str(kind)


def _meaning(schema: Schema) -> str:
    limits = [*_limits(schema)]
    if schema["type"] == "array":
        limits += [f"each: {limit}" for limit in _limits(schema["items"])]
    said = f"{_escaped(str(schema['description']))}"
    return f"{said} <br>*{'; '.join(limits)}*" if limits else said


def _limits(schema: Schema) -> Iterator[str]:
    if "default" in schema and schema["default"] != {}:
        yield f"default `{_literal(schema['default'])}`"
    if "enum" in schema:
        yield "one of " + ", ".join(f"`{value}`" for value in schema["enum"])
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        yield f"{least} to {most}"
    elif least is not None:
        yield f"at least {least}"
    if "maxLength" in schema:
        yield f"at most {schema['maxLength']} characters"
    if "maxItems" in schema:
        yield f"at most {schema['maxItems']}"
    if schema.get("pattern"):
        yield f"pattern `{_escaped(schema['pattern'])}`"


def _literal(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;") if "`" not in text else text


def _words_of(policy: Schema | None) -> list[str]:
    """With what an admission policy refuses."""
    return [one["message"] for one in policy["spec"]["validations"]] if policy else []


def _rules(schema: Schema) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", ()):
        yield _escaped(rule["message"])
    for _, child in fields(schema):
        yield from _rules(child)
    if "items" in schema:
        yield from _rules({k: v for k, v in schema["items"].items() if k != "properties"})
