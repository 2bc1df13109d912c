"""The config of a run: renamed options, checks against the schema, defaults."""

import copy

import yaml
from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import best_match
from snakemake.exceptions import WorkflowError

from veloshard_planning.messages import explain
from veloshard_planning.samples import add_samples, read_samples

# options of which each dataset can have its own, merged over those of all datasets
PER_DATASET = ("preprocess", "figures")

# options of earlier versions: the key, its earlier value or type of value (None: any), what to write instead
RENAMED = (
    ("shards", None, "genes_per_shard, the number of genes that one job fits"),
    ("fates", None, "fate_probabilities: true or false, or options such as fate_probabilities: {n_states: 3}"),
    ("transitions", None, "transition_matrix: true or false"),
    ("trust.model_controls", None, "trust.refit_models: true or false, or trust.refit_models: {controls: [permuted]}"),
    ("datasets.*.vector_field.n_controls", None, "n_control_points"),
    ("defaults.vector_field.n_controls", None, "n_control_points"),
    ("figures.palette", list, "a mapping of cluster labels to colors, such as {Alpha: '#1f77b4'}"),
    ("datasets.*.figures.palette", list, "a mapping of cluster labels to colors, such as {Alpha: '#1f77b4'}"),
    ("methods.*.method", "external", "method: precomputed"),
    ("methods.*.solver", "converged", "solver: mixture"),
    ("methods.*.solver", "compatible", "solver: scvelo"),
    ("methods.*.velocity", "supported", "velocity: shrunken"),
    ("methods.*.n_courses", None, "n_curves"),
)


def complete_config(config, schemas, descriptions):
    """Return a config that is checked and has all defaults.

    Parameters
    ----------
    config : dict
        The config as Snakemake read it. It is not changed.
    schemas : Path
        Folder with `config.schema.yaml` and `samples.schema.yaml`.
    descriptions : dict of str to dict
        Descriptions of all methods, by name.

    Returns
    -------
    dict
        The config with the datasets of the table of samples, `method` in each entry of `methods`, and `preprocess` and
        `figures` of each dataset. Optional outputs are False or a dict of options. Keys are sorted, because another
        order is no reason to run a job again.

    Raises
    ------
    WorkflowError
        If an option is unknown, was renamed or has a wrong value. The message names the key and the remedy.
    """
    config = add_datasets(name_methods(copy.deepcopy(dict(config))), schemas / "samples.schema.yaml")
    schema = config_schema(schemas / "config.schema.yaml", descriptions)
    refuse_renamed(config)
    check_config(config, schema)
    for options in config["datasets"].values():
        for part in PER_DATASET:
            options[part] = {
                **config.get(part, {}),
                **config.get("defaults", {}).get(part, {}),
                **options.get(part, {}),
            }
    check_config(config, schema)
    fill_in_defaults(config, schema)
    return sort_keys(config)


def name_methods(config):
    """Return the config with `method` in each entry of `methods`, by default the entry's own name."""
    entries = config.get("methods")
    if not isinstance(entries, dict):
        return config
    entries = {
        name: entry if entry and not isinstance(entry, dict) else {"method": name, **(entry or {})}
        for name, entry in entries.items()
    }
    return {**config, "methods": entries}


def add_datasets(config, samples_schema):
    """Return the config with the datasets of its table of samples, and with `defaults` in each dataset."""
    defaults, datasets = config.get("defaults", {}), config.get("datasets", {})
    nests = [defaults, datasets, *(datasets.values() if isinstance(datasets, dict) else ())]
    if not all(isinstance(nest, dict) for nest in nests):
        return config  # the check against the schema refuses it
    for part in ("annotations", *PER_DATASET):
        if not isinstance(defaults.get(part, {}), dict):
            raise WorkflowError(f"Config, defaults.{part}: give options, not {defaults[part]!r}")
    # a value of another type is refused by the check against the schema
    if isinstance(config.get("samples"), str):
        rows = read_samples(config["samples"], samples_schema)
        datasets = add_samples(datasets, rows, defaults.get("annotations") or {})
    # options that are merged by their own keys are added after the check
    defaults = {key: value for key, value in defaults.items() if key not in PER_DATASET}
    datasets = {
        name: {**defaults, **options} if isinstance(options, dict) else options for name, options in datasets.items()
    }
    return {**config, "datasets": datasets}


def config_schema(path, descriptions):
    """Return the schema of the config, in which the description of a method closes its entry in `methods`.

    Parameters
    ----------
    path : Path
        File `config.schema.yaml`.
    descriptions : dict of str to dict
        Descriptions of all methods, by name.
    """
    schema = yaml.safe_load(path.read_text())
    entry = schema["properties"]["methods"]["additionalProperties"]
    entry["properties"]["method"]["enum"] = sorted(descriptions)
    entry["allOf"] = [
        {
            "if": {"properties": {"method": {"const": name}}},
            "then": {
                "properties": {"method": {}, **description["properties"]},
                "required": description.get("required", []),
                "additionalProperties": False,
            },
        }
        for name, description in descriptions.items()
    ]
    return schema


def refuse_renamed(config):
    """Raise WorkflowError for an option of an earlier version. The message names the new one."""
    for pattern, old, advice in RENAMED:
        for key, value in _options_at(config, pattern.split(".")):
            if old is None or value == old or (isinstance(old, type) and isinstance(value, old)):
                given = "" if old is None else f" {value}"
                raise WorkflowError(f"Config, {key}:{given} is an option of an earlier version. Write {advice}.")


def _options_at(nest, pattern, key=()):
    """Yield the dotted keys and values of a nested dict that match a pattern with `*` for any key."""
    if not pattern:
        yield ".".join(key), nest
    elif isinstance(nest, dict):
        for name in nest if pattern[0] == "*" else {pattern[0]} & nest.keys():
            yield from _options_at(nest[name], pattern[1:], (*key, str(name)))


def check_config(config, schema):
    """Raise WorkflowError if the config does not match the schema. The message names the key and the remedy."""
    error = best_match(Draft202012Validator(schema).iter_errors(config))
    if error is None:
        return
    key = ".".join(str(part) for part in error.absolute_path) or "top level"
    raise WorkflowError(f"Config, {key}: {explain(error)} (config/README.md describes the options)")


def fill_in_defaults(config, schema):
    """Add the defaults of a checked config in place, and replace `true` by `{}` where options could stand."""

    def set_defaults(validator, properties, instance, schema):
        if isinstance(instance, dict):
            for key, option in properties.items():
                if "default" in option:
                    instance.setdefault(key, copy.deepcopy(option["default"]))
                if option.get("type") == ["boolean", "object"] and instance.get(key) is True:
                    instance[key] = {}
        yield from Draft202012Validator.VALIDATORS["properties"](validator, properties, instance, schema)

    validators.extend(Draft202012Validator, {"properties": set_defaults})(schema).validate(config)


def sort_keys(nest):
    """Return a nested dict with sorted keys."""
    return {key: sort_keys(nest[key]) for key in sorted(nest, key=str)} if isinstance(nest, dict) else nest
