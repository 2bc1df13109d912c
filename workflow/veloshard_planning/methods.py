"""Descriptions of the velocity methods, workflow/schemas/methods/<name>.yaml, and what rules read from them."""

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from snakemake.exceptions import WorkflowError

from veloshard_planning.messages import explain


def load_descriptions(schemas):
    """Return the descriptions of all methods, by name.

    Parameters
    ----------
    schemas : Path
        Folder with `method.schema.yaml` and the folder `methods`.

    Raises
    ------
    WorkflowError
        If a description does not match the schema.
    """
    validator = Draft202012Validator(yaml.safe_load((schemas / "method.schema.yaml").read_text()))
    descriptions = {}
    for path in sorted((schemas / "methods").glob("*.yaml")):
        descriptions[path.stem] = yaml.safe_load(path.read_text())
        error = best_match(validator.iter_errors(descriptions[path.stem]))
        if error:
            key = "".join(f", {part}" for part in error.absolute_path)
            raise WorkflowError(f"{path}{key}: {explain(error)}")
    return descriptions


def resolve_traits(config, descriptions):
    """Return what the rules know about each configured method.

    Parameters
    ----------
    config : dict
        The complete config.
    descriptions : dict of str to dict
        Result of `load_descriptions`.

    Returns
    -------
    dict of str to dict
        By the name of the entry in `methods`:

        `method`, `title`, `kind`
            The name of the description, and these fields of it.
        `has_curves`
            Whether the method fits curves, for which differential kinetics are tested.
        `is_refitted`
            Whether genes are fitted again without clusters that have kinetics of their own.
        `sqrt_transform`, `scale_genes`
            Options of the velocity graph, with `auto` replaced.
        `controls`, `controls_option`
            Negative controls that a model of another group is fitted to, and the option that lists them; empty for
            other methods.
        `has_posterior`
            Whether the method draws several samples of a posterior.
        `n_layers`
            Number of layers (cells x genes) that are stored, posterior samples included.
        `resources`, `threads`
            Row of the resource table and number of threads of a model.
    """
    return {name: _resolve(options, config, descriptions) for name, options in config["methods"].items()}


def _resolve(options, config, descriptions):
    description = descriptions[options["method"]]
    traits, graph = description["traits"], config["graph"]
    requested, has_curves = config["trust"]["refit_models"], traits.get("has_curves", False)
    is_model, n_samples = description["kind"] == "model", options.get("n_samples", 0)
    resources = description.get("resources", {})
    stabilizes = graph["variance_stabilization"]
    scales = graph["scale_genes"]
    return {
        "method": options["method"],
        "title": description["title"],
        "kind": description["kind"],
        "has_curves": has_curves,
        "is_refitted": has_curves and config["kinetics"]["refit"],
        "sqrt_transform": traits.get("variance_stabilization", False) if stabilizes == "auto" else stabilizes,
        "scale_genes": traits.get("scale_genes", False) if scales == "auto" else scales,
        "controls": requested["controls"] if is_model and requested is not False else [],
        "controls_option": "trust.refit_models.controls" if is_model else "",
        "has_posterior": n_samples > 1,
        # a sample is stored once, a layer three times: in shards, fit and result
        "n_layers": traits.get("n_layers", 1) + n_samples / 3,
        "threads": resources.get("threads", 1),
        "resources": {
            "memory": {
                "constant": 1e6 * resources.get("megabytes", 0),
                "fitted_cell_gene": resources.get("bytes_per_entry", 0),
            },
            "time": {
                "constant": resources.get("seconds", 0),
                "fitted_cell_gene": resources.get("seconds_per_entry", 0),
            },
        },
    }
