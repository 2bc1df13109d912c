"""Write the options page config/README.md from the schemas: `python docs/generate_options.py`.

Options, bounds, defaults and descriptions are in `workflow/schemas/config.schema.yaml`. Those of a method are in its
description file `workflow/schemas/methods/<name>.yaml`. Nothing on the page is written by hand but `INTRODUCTION`.
"""

import json
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
METHODS = ROOT / "workflow/schemas/methods"
PAGE = ROOT / "config/README.md"

# order of the methods on the page, by their `kind`
KINDS = ("native", "precomputed", "model")

# an object with more options than this has a section of its own, others are rows of the table of their parent
MAX_ROWS = 4

INTRODUCTION = """\
# Options

<!-- Written by docs/generate_options.py from workflow/schemas. Edit the schemas, then run `make docs`. -->

`config.yaml` is the config of the demo. Copy it, or one of `examples/`, and pass it with `snakemake --configfile
my.yaml`. Unknown keys are refused, and the error suggests the closest known key. Threads, memory and accounts are not
options of the workflow: set them in a Snakemake profile or on the command line.

`<name>` is a name that you choose. An option without a default (–) can be left out.
"""

TABLE_HEAD = "| key | values | default | description |\n|---|---|---|---|"

TYPES = {
    "integer": "integer",
    "number": "number",
    "string": "string",
    "boolean": "`true` or `false`",
    "null": "`null`",
}
PLURALS = {"integer": "integers", "number": "numbers", "string": "strings", "boolean": "booleans"}


def load_schema():
    """Return the schema of the config."""
    return yaml.safe_load(SCHEMA.read_text())


def load_methods():
    """Return the description files of the methods by method name, native methods first."""
    methods = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(METHODS.glob("*.yaml"))}
    return dict(sorted(methods.items(), key=lambda item: KINDS.index(item[1]["kind"])))


def render_page(schema, methods):
    """Return the text of the options page.

    Parameters
    ----------
    schema : dict
        JSON schema of the config.
    methods : dict of str to dict
        Description files by method name.

    Returns
    -------
    str
        The page, as Markdown.
    """
    properties = schema["properties"]
    parts = [INTRODUCTION, *_named_section(schema, "datasets", "Datasets")]
    parts += ["## Methods\n", _sentence(properties["methods"]), _method_key(properties["methods"], methods)]
    for name, description in methods.items():
        parts += [f"### {description['title']} (`{name}`)\n", render_method_options(name, description, schema)]
    others = {key: node for key, node in properties.items() if key not in ("datasets", "methods")}
    single = {key: node for key, node in others.items() if not _options_of(_resolve(node, schema))}
    for key in others:
        if key not in single:
            parts += _object_section(schema, key, others[key], level=2)
    parts += ["## Other options\n", _table(schema, single)]
    return "\n".join(parts)


def render_method_options(name, description, schema=None):
    """Return the table of the options of a method.

    Parameters
    ----------
    name : str
        Name of the method.
    description : dict
        Content of its description file.
    schema : dict, optional
        Schema that ``$ref`` refers to.

    Returns
    -------
    str
        A Markdown table, or a sentence for methods without options.
    """
    properties = {key: node for key, node in description.get("properties", {}).items() if key != "method"}
    if not properties:
        return f"The method `{name}` has no options.\n"
    return _table(schema or {}, properties, prefix="methods.<name>.", required=description.get("required", ()))


def _named_section(schema, key, heading):
    """Return the section of the objects under `<key>.<name>`, with a section for each large object in them."""
    node = _resolve(schema["properties"][key], schema)
    entry = _resolve(node["additionalProperties"], schema)
    prefix = f"{key}.<name>."
    shared = schema["properties"].keys()
    small, large = {}, {}
    for name, child in entry["properties"].items():
        is_large = name not in shared and len(_options_of(_resolve(child, schema))) > MAX_ROWS
        (large if is_large else small)[name] = child
    parts = [f"## {heading}\n", _sentence(node), _table(schema, small, prefix=prefix, shared=shared)]
    for name, child in large.items():
        parts += _object_section(schema, name, child, level=3, prefix=prefix)
    return parts


def _object_section(schema, key, node, *, level, prefix=""):
    """Return the section of one object with options."""
    resolved = _resolve(node, schema)
    heading = f"{'#' * level} {key.replace('_', ' ').capitalize()}\n"
    if resolved.get("type") == "object":
        return [heading, _sentence(resolved), _table(schema, resolved["properties"], prefix=f"{prefix}{key}.")]
    # `false`, `true` or options: the key itself is an option too
    return [heading, _table(schema, {key: node}, prefix=prefix)]


def _method_key(node, methods):
    """Return the table with the key `method`, which all methods have."""
    key = node["additionalProperties"]["properties"]["method"]
    names = ", ".join(f"`{name}`" for name in methods)
    return f"{TABLE_HEAD}\n| `methods.<name>.method` | {names} | – | {_description(key)} |\n"


def _sentence(node):
    """Return the description of a node as a paragraph."""
    return f"{' '.join(node['description'].split())}\n"


def _table(schema, properties, *, prefix="", shared=(), required=()):
    """Return a Markdown table with a row for each option, nested ones included."""
    rows = [TABLE_HEAD]
    for key, node in properties.items():
        rows += _rows(schema, f"{prefix}{key}", node, is_shared=key in shared, is_required=key in required)
    return "\n".join(rows) + "\n"


def _rows(schema, key, node, *, is_shared=False, is_required=False):
    """Return the rows of an option and of the options in it."""
    node = _resolve(node, schema)
    options = _options_of(node)
    is_plain = "properties" in node and node.get("type") == "object"
    rows = []
    if not is_plain or is_shared or not options or "default" not in node:
        cells = (f"`{key}`", values_of(node, schema), "required" if is_required else _default(node), _description(node))
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    if not is_shared:
        required = _required_of(node)
        for name, child in options.items():
            rows += _rows(schema, f"{key}.{name}", child, is_required=name in required)
    return rows


def _resolve(node, schema):
    """Return a node with the definition that its ``$ref`` names, its own keywords first."""
    if "$ref" not in node:
        return node
    target = schema
    for part in node["$ref"].removeprefix("#/").split("/"):
        target = target[part]
    return {**_resolve(target, schema), **{key: value for key, value in node.items() if key != "$ref"}}


def _alternatives(node):
    """Return the alternatives of a node, or none."""
    return node.get("oneOf", node.get("anyOf", [])) if "properties" not in node else []


def _options_of(node):
    """Return the options in an object, or in the alternative of a node that is an object."""
    for candidate in (node, *_alternatives(node)):
        if "properties" in candidate:
            return candidate["properties"]
    return {}


def _required_of(node):
    """Return the names of the required options of an object."""
    return next((part.get("required", []) for part in (node, *_alternatives(node)) if "properties" in part), [])


def _description(node):
    """Return the description of an option in one line."""
    return " ".join(node.get("description", "").split())


def _default(node):
    """Return the default of an option as it is written in a config, or a dash."""
    default = node.get("default")
    if default in (None, [], {}):
        return "–"
    if isinstance(default, list) and default == node.get("items", {}).get("enum"):
        return "all"
    return f"`{default}`" if isinstance(default, str) else f"`{json.dumps(default)}`"


def values_of(node, schema):
    """Return the values that an option can have, with its bounds.

    Parameters
    ----------
    node : dict
        JSON schema of the option.
    schema : dict
        Schema that ``$ref`` refers to.

    Returns
    -------
    str
        Such as ``"integer, 1 to 100"``, as Markdown.
    """
    node = _resolve(node, schema)
    if "enum" in node:
        return ", ".join(f"`{value if isinstance(value, str) else json.dumps(value)}`" for value in node["enum"])
    if "const" in node:
        return f"`{node['const'] if isinstance(node['const'], str) else json.dumps(node['const'])}`"
    alternatives = _alternatives(node)
    if alternatives:
        return " or ".join(dict.fromkeys(values_of(option, schema) for option in alternatives))
    types = node.get("type", [])
    types = [types] if isinstance(types, str) else types
    # an output without options is requested by `true`
    types = [kind for kind in types if len(types) == 1 or kind != "object" or node.get("properties") != {}]
    return " or ".join(_values_of_type(kind, node, schema) for kind in types) or "any"


def _values_of_type(kind, node, schema):
    """Return the values of one JSON type that an option can have."""
    if kind == "object":
        return "options" if "properties" in node else _mapping(node, schema)
    if kind == "array":
        items = _resolve(node.get("items", {}), schema)
        if "enum" in items:
            return f"list of {values_of(items, schema)}"
        if items.get("type") == "array":
            return "list of pairs" if items.get("maxItems") == 2 else "list of lists"
        types = items.get("type", "string")
        types = [types] if isinstance(types, str) else types
        return f"list of {' or '.join(PLURALS.get(name, name) for name in types)}"
    bounds = _bounds(node) if kind in ("integer", "number") else ""
    return f"{TYPES[kind]}{bounds}"


def _mapping(node, schema):
    """Return the values of an object with keys that the user chooses."""
    values = node.get("additionalProperties")
    if not isinstance(values, dict) or not values:
        return "options"
    text = values_of(values, schema)
    return "mapping" if text in ("options", "any") or text.startswith("mapping") else f"mapping to {text}"


def _bounds(node):
    """Return the bounds of a number, in words."""
    low, high = node.get("minimum"), node.get("maximum")
    above, below = node.get("exclusiveMinimum"), node.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f", {low} to {high}"
    words = [("at least", low), ("above", above), ("at most", high), ("below", below)]
    return "".join(f", {word} {bound}" for word, bound in words if bound is not None)


def write_page():
    """Write the options page, unless it is up to date."""
    page = render_page(load_schema(), load_methods())
    if PAGE.read_text() != page:
        PAGE.write_text(page)


if __name__ == "__main__":
    write_page()
