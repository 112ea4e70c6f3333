#!/usr/bin/env python3
"""The tables of docs/control.md, made from docs/control.schema.json, and the names of both.

usage: describe.py FOLDER [--write]

Without --write: fails where the tables in FOLDER/docs/control.md are not those of the schema, and
where docs/glossary.md lacks a state of a page, a kind of fault or a unit that the schema names, or
where what a user sees has a word that the glossary has dropped.
"""
import glob
import json
import re
import sys

BEGIN = "<!-- From here on made by tests/protocol/describe.py --write. -->\n"


def type_of(schema, defs):
    """A member's type in words."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        target = defs[name]
        if name in ("count", "bytes", "ns", "pages", "hex", "number"):
            return name
        if "enum" in target:
            return type_of(target, defs)
        return f"[{name}](#{name})"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(type_of(one, defs) for one in schema[key])
    if schema.get("type") == "array":
        items = schema["items"]
        return "array of " + ("pairs" if "prefixItems" in items else type_of(items, defs))
    kind = schema.get("type", "any value")
    return " or ".join(kind) if isinstance(kind, list) else kind


def rows_of(schema, defs, prefix=""):
    """A row for each member, those of objects within it behind a dot."""
    for name, member in schema["properties"].items():
        inner = [one for one in member.get("anyOf", [member]) if "properties" in one]
        text = member.get("description", "")
        if not text and "$ref" in member:
            text = defs[member["$ref"].rsplit("/", 1)[1]].get("description", "")
        if name not in schema["required"]:
            text = ("may be absent; " + text) if text else "may be absent"
        kind = "object" if inner else type_of(member, defs)
        if inner and len(member.get("anyOf", [])) > 1:
            kind = "null or object"
        yield f"| `{prefix}{name}` | {kind} | {text} |"
        for one in inner:
            yield from rows_of(one, defs, prefix + name + ".")
        items = member.get("items", {})
        if "properties" in items:
            yield from rows_of(items, defs, prefix + name + "[].")


def section(name, schema, defs):
    lines = [f"### {name}", ""]
    if schema.get("description"):
        lines += [schema["description"], ""]
    if "properties" in schema:
        rows = list(rows_of(schema, defs))
        lines += ["| member | type | |", "| --- | --- | --- |", *rows] if rows else ["No members."]
    else:
        lines += ["* " + type_of(one, defs) for one in schema.get("oneOf", [schema])]
    return "\n".join(lines) + "\n"


def tables(schema):
    defs = schema["$defs"]
    methods = [name[: -len("_params")] for name in defs if name.endswith("_params")]
    parts = ["\n## Methods\n"]
    for method in methods:
        parts.append(section(f"{method}_params", defs[method + "_params"], defs))
        parts.append(section(method, defs[method], defs))
    parts.append("## What they are made of\n")
    for name, part in defs.items():
        if name not in methods and not name.endswith("_params") and "properties" in part:
            parts.append(section(name, part, defs))
    return "\n".join(parts)


def words_missing(schema, glossary):
    """What the glossary has to name, and does not."""
    defs = schema["$defs"]
    names = list(defs["page_state"]["enum"]) + ["outside", "unmanaged"]
    names += defs["stat"]["properties"]["faults"]["properties"]
    names += defs["stat"]["properties"]["evictions"]["properties"]
    names += defs["stat"]["properties"]["releases"]["properties"]
    names += defs["maps"]["properties"]["ranges"] and defs["range"]["properties"]["pages"]["properties"]
    names += defs["stat"]["properties"]
    names += ["_bytes", "_ns", "_frames", "_pages"]
    return [name for name in names if f"`{name}`" not in glossary]


def members_of(schema):
    """All names of members and all values of enumerations, anywhere."""
    if isinstance(schema, dict):
        yield from schema.get("properties", {}) if isinstance(schema.get("properties"), dict) else []
        yield from (value for value in schema.get("enum", []) if isinstance(value, str))
        for value in schema.values():
            yield from members_of(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from members_of(value)


def dropped_words(glossary):
    """The phrases in the table of words that are not used."""
    part = glossary.split("## Not used", 1)[1]
    return re.findall(r"^\| ([^|`]+?) \| `?[^|]+`? \|$", part, re.M)[1:]


def seen_by_users(folder):
    """Texts of the program, and pages for users, by file."""
    for path in sorted(glob.glob(folder + "/vmm/**/*.c", recursive=True)):
        with open(path, encoding="utf-8") as file:
            yield path, "\n".join(re.findall(r'"((?:[^"\\\n]|\\.)*)"', file.read()))
    pages = ["tools/demo", "README.md", "docs/bifold.1"]
    for more in ("docs/*.md", "tools/benchmarks/*.py"):
        pages += [path[len(folder) + 1 :] for path in sorted(glob.glob(f"{folder}/{more}"))]
    for name in pages:
        if not name.endswith("glossary.md"):
            with open(f"{folder}/{name}", encoding="utf-8") as file:
                yield name, file.read()


def check(schema, text, glossary, folder):
    faults = []
    if text.split(BEGIN, 1)[-1] != tables(schema):
        faults.append("docs/control.md is not what the schema says: tests/protocol/describe.py . --write")
    faults += [f"docs/glossary.md lacks `{name}`" for name in words_missing(schema, glossary)]
    for name in sorted(set(members_of(schema))):
        if not re.fullmatch(r"[a-z0-9_]+|[A-Z][A-Za-z0-9]*|[0-9][KMG]", name):
            faults.append(f"the schema's name '{name}' is not written as names are")
        if f"`{name}`" not in text and f".{name}`" not in text:
            faults.append(f"docs/control.md lacks `{name}`")
    dropped = dropped_words(glossary)
    if len(dropped) < 5:
        faults.append("docs/glossary.md: the words that are not used cannot be read")
    for path, seen in seen_by_users(folder):
        for word in dropped:
            if re.search(rf"\b{re.escape(word)}\b", seen):
                faults.append(f"{path}: '{word}' is a word that docs/glossary.md has dropped")
    return faults


def main():
    folder = sys.argv[1]
    with open(folder + "/docs/control.schema.json", encoding="utf-8") as file:
        schema = json.load(file)
    with open(folder + "/docs/control.md", encoding="utf-8") as file:
        text = file.read()
    if sys.argv[2:] == ["--write"]:
        with open(folder + "/docs/control.md", "w", encoding="utf-8") as file:
            file.write(text.split(BEGIN, 1)[0] + BEGIN + tables(schema))
        return 0
    with open(folder + "/docs/glossary.md", encoding="utf-8") as file:
        faults = check(schema, text, file.read(), folder)
    print("\n".join(faults) or "the interface and its pages agree")
    return 1 if faults else 0


sys.exit(main())
