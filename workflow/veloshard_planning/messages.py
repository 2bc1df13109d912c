"""Messages about an option that does not match its schema."""

import difflib

TYPES = {
    "object": "options, such as {name: value}",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "nothing",
}


def explain(error):
    """Return what an error of jsonschema means for the author of a config, with the nearest allowed name."""
    if error.validator in ("additionalProperties", "enum"):
        allowed = [str(name) for name in error.schema.get("properties", error.validator_value or ())]
        given = error.instance if isinstance(error.instance, dict) else [error.instance]
        wrong = next(str(name) for name in given if str(name) not in allowed)
        nearest = difflib.get_close_matches(wrong, allowed, n=1)
        advice = f"did you mean {nearest[0]!r}?" if nearest else f"allowed are {', '.join(allowed) or 'no options'}"
        return f"{wrong!r} is unknown; {advice}"
    if "propertyNames" in error.absolute_schema_path and not isinstance(error.instance, str):
        return f"write the name {error.instance!r} in quotes"
    if error.validator == "type":
        types = [error.validator_value] if isinstance(error.validator_value, str) else error.validator_value
        return f"{error.instance!r} is of the wrong type; give {' or '.join(TYPES[name] for name in types)}"
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        return f"{missing[0]!r} is missing"
    if error.validator == "minProperties":
        return "give at least one entry, such as {name: {}}"
    if error.validator == "oneOf":
        ways = " or ".join(way["const"] if "const" in way else way["required"][0] for way in error.validator_value)
        return f"give {ways}, and only one of them"
    if error.validator == "anyOf":
        return f"give {' or '.join(way['required'][0] for way in error.validator_value)}"
    if error.validator == "pattern":
        return f"{error.instance!r} does not match {error.validator_value}"
    return error.message
