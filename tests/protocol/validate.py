#!/usr/bin/python3
"""Validates what the control socket answers against its schema.

usage: validate.py SCHEMA < LINES

A line is the name of a definition, a tab, and JSON. What the schema leaves open, so that members can
be added, is closed here: a member that it does not describe is an error, and so are keywords that
the validator would pass over.
"""
import json
import sys

try:
    from jsonschema import Draft202012Validator
except ImportError:
    sys.exit(77)


def close(schema):
    """Objects have the members they are said to have, and no others."""
    if isinstance(schema, list):
        for item in schema:
            close(item)
    elif isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
            schema["additionalProperties"] = False
        for item in schema.values():
            close(item)


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        schema = json.load(file)
    Draft202012Validator.check_schema(schema)
    close(schema["$defs"])
    count = failures = 0
    for line in sys.stdin:
        name, text = line.rstrip("\n").split("\t", 1)
        validator = Draft202012Validator({"$ref": "#/$defs/" + name, "$defs": schema["$defs"]})
        count += 1
        for error in validator.iter_errors(json.loads(text)):
            where = "/".join(str(part) for part in error.absolute_path)
            print(f"{name}: {where}: {error.message[:400]}", file=sys.stderr)
            for cause in error.context or []:
                where = "/".join(str(part) for part in cause.absolute_path)
                print(f"    {where}: {cause.message[:300]}", file=sys.stderr)
            failures += 1
    print(f"{count} answers, {failures} of them wrong")
    return 1 if failures > 0 or count == 0 else 0


sys.exit(main())
