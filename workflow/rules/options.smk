"""Inputs that depend on the data or the config, and the options that rules pass to scripts."""

# figures of all methods together: their folder, and the name of the group in the report
COMPARISON, ALL_METHODS = "veloshard/plotting/comparison", "all methods"
COMPARISON_FIGURES = sorted(path.stem for path in (SCRIPTS / COMPARISON).glob("[!_]*.py"))

# options of a vector field that decide how it is learned, not what is computed from it
VECTOR_FIELD_SETTINGS = ("n_control_points", "regularization", "random_state")

# optional analyses of a vector field, and the names of their files and figures
VECTOR_FIELD_ANALYSES = {"regulation": "regulation", "trajectories": "trajectories", "paths": "least_action_paths"}


def get_dataset_options(*keys):
    """Return a function for a param: those of some options that a dataset has."""

    def get_options(wildcards):
        return {key: value for key, value in config["datasets"][wildcards.dataset].items() if key in keys}

    return get_options


def get_source(wildcards):
    """Return the path that the counts of a dataset are read from, or paths by sample."""
    options = config["datasets"][wildcards.dataset]
    if "simulate" in options:
        return f"results/{wildcards.dataset}/simulated.h5ad"
    return options.get("samples") or options["source"]


def get_source_files(wildcards):
    """Return all files that a dataset is read from, also those in folders; none if the counts are simulated."""
    options = config["datasets"][wildcards.dataset]
    if "simulate" in options:
        return []
    return [file for path in source_paths(options, "").values() for file in files_below(path)]


def get_ingest_input(wildcards):
    """Return the files and folders that a dataset is read from; raise WorkflowError if one does not exist."""
    options = config["datasets"][wildcards.dataset]
    if "simulate" in options:
        return [get_source(wildcards)]
    paths = source_paths(options, f"datasets.{wildcards.dataset}")
    for key, path in paths.items():
        if not Path(path).exists():
            raise WorkflowError(
                f"dataset {wildcards.dataset!r}: there is no file {path!r} (relative to {Path.cwd()}). Set {key}."
            )
    # the content is tracked as a param, so a file that was touched or copied reruns nothing
    return ancient(list(paths.values()))


def get_source_content(wildcards):
    """Return a hash of the files that a dataset is read from, '' if the counts are simulated."""
    files = get_source_files(wildcards)
    return hash_content(files, wildcards.dataset) if files else ""


def get_truth(wildcards):
    """Return the file that can have true velocities of a dataset, if its counts are read from one such file."""
    source = get_source(wildcards)
    if "simulate" in config["datasets"][wildcards.dataset]:
        return source
    # its content is tracked by the counts that were read from it
    return ancient(source) if isinstance(source, str) and source.endswith(".h5ad") else []


def get_ingest_options(wildcards):
    """Return the options by which the source of a dataset is read."""
    options = get_dataset_options("format", "layers", "join", "annotations", "pca", "neighbors")(wildcards)
    return {**options, **config["ingest"]}


def get_preprocess_options(wildcards):
    """Return the options by which a dataset is filtered and normalized."""
    options = get_dataset_options("cells", "genes", "pca", "neighbors")(wildcards)
    return {**config["datasets"][wildcards.dataset]["preprocess"], **options}


def get_embedding_options(wildcards):
    """Return the options of the embedding of a dataset."""
    random_state = config["datasets"][wildcards.dataset]["preprocess"]["random_state"]
    return {"random_state": random_state, **get_dataset_options("embedding")(wildcards)}


def get_compiled_fit(wildcards):
    """Return the file that marks the code of a native method as compiled; nothing for other methods.

    Its name has a hash of the code and of the options, which choose the code that runs.
    """
    if traits[wildcards.method]["kind"] != "native":
        return []
    code = get_method_code("fit_genes", "merge_fits")(wildcards)
    content = json.dumps([code, config["methods"][wildcards.method]], sort_keys=True)
    key = hashlib.sha256(content.encode()).hexdigest()[:8]
    return f"results/compiled/fit/{wildcards.method}.{key}.txt"


def get_shards(folder, size, per_shard):
    """Return a function for an input: the files of all shards, as many as the size of the prepared dataset requires."""

    def get_files(wildcards):
        # Snakemake asks again once the checkpoint has run
        sizes = Path(checkpoints.prepare_data.get(dataset=wildcards.dataset).output.sizes)
        n_shards = -(-json.loads(sizes.read_text())[size] // per_shard)
        place = f"results/{wildcards.dataset}/{wildcards.method}/{folder}"
        return [f"{place}/{number}-of-{n_shards}.h5" for number in range(1, n_shards + 1)]

    return get_files


def get_fits(wildcards):
    """Return the fits of all methods, in the order of the config."""
    names = {name: "refit" if traits[name]["is_refitted"] else "fit" for name in traits}
    return [f"results/{wildcards.dataset}/{method}/{name}.h5" for method, name in names.items()]


def get_precomputed_source(wildcards):
    """Return the file with the precomputed velocities of a dataset; raise WorkflowError if it does not exist."""
    path = config["methods"][wildcards.method]["source"].replace("{dataset}", wildcards.dataset)
    if not Path(path).is_file():
        raise WorkflowError(
            f"method {wildcards.method!r}, dataset {wildcards.dataset!r}: there is no file {path!r} (relative to "
            f"{Path.cwd()}). Set methods.{wildcards.method}.source."
        )
    # the content is tracked as a param, like that of the counts
    return ancient(path)


def get_precomputed_content(wildcards):
    """Return a hash of the file with the precomputed velocities of a dataset."""
    return hash_content([str(get_precomputed_source(wildcards))], f"{wildcards.dataset}/{wildcards.method}")


def get_method_options(*left_out):
    """Return a function for a param: the options of a method, without some."""
    return lambda wildcards: {
        key: value for key, value in config["methods"][wildcards.method].items() if key not in left_out
    }


def get_model_options(wildcards):
    """Return the options of a model, as JSON for a command line."""
    return json.dumps(get_method_options("method")(wildcards), sort_keys=True)


def get_model_code(wildcards):
    """Return a hash of the program of a model."""
    return get_code("run_model", f"models/{traits[wildcards.method]['method']}")


def get_model_yaml(wildcards):
    """Return the file from which --sdm conda installs the environment of a model."""
    return str(WORKFLOW.parent / f"envs/{traits[wildcards.method]['method']}.yaml")


def get_model_environment(wildcards):
    """Return the environment of a model."""
    model = traits[wildcards.method]
    return get_environment(model["method"], f"the method {wildcards.method} ({model['title']})")


def get_cellrank_environment(wildcards):
    """Return the environment in which fate probabilities are computed."""
    return get_environment("cellrank", "fate_probabilities (by CellRank)")


def get_fate_options(wildcards):
    """Return the options of the fate probabilities of a dataset, as JSON for a command line."""
    options = config["fate_probabilities"]
    if options is False:
        raise WorkflowError("fate probabilities are not requested. Set fate_probabilities: true.")
    dataset_options = get_dataset_options("clusters", "root", "terminal_states")(wildcards)
    return json.dumps({**options, **dataset_options}, sort_keys=True)


def get_reported_options(wildcards):
    """Return the options that decided a result, for the provenance in its file."""
    options = dict(config["datasets"][wildcards.dataset])
    preprocess = options.pop("preprocess")
    left_out = ("expected", "terminal_states", "vector_field", "figures")
    reported = {
        "dataset_name": wildcards.dataset,
        "method_name": wildcards.method,
        "dataset": {key: value for key, value in options.items() if key not in left_out},
        "ingest": config["ingest"],
        "preprocess": preprocess,
        "method": config["methods"][wildcards.method],
        "variance_stabilization": config["graph"]["variance_stabilization"],
        "scale_genes": config["graph"]["scale_genes"],
    }
    if traits[wildcards.method]["has_curves"]:
        reported["kinetics"] = config["kinetics"]
    if traits[wildcards.method]["kind"] == "precomputed":
        reported["precomputed_sha256"] = get_precomputed_content(wildcards)
    return reported


def get_vector_field_option(key):
    """Return a function for a param: an option of the vector fields of a dataset.

    The function raises WorkflowError for a dataset without this option.
    """

    def get_option(wildcards):
        requested = config["datasets"][wildcards.dataset]["vector_field"] or {}
        if key not in requested:
            option = "vector_field" if key in VECTOR_FIELD_SETTINGS else f"vector_field.{key}"
            raise WorkflowError(
                f"dataset {wildcards.dataset!r}: this analysis is not requested. Set "
                f"datasets.{wildcards.dataset}.{option}."
            )
        return requested[key]

    return get_option


def get_vector_field_settings(wildcards):
    """Return the options by which the vector fields of a dataset are learned."""
    get_vector_field_option("random_state")(wildcards)
    options = config["datasets"][wildcards.dataset]["vector_field"]
    return {key: value for key, value in options.items() if key in VECTOR_FIELD_SETTINGS}


def get_vector_field_checks(wildcards):
    """Return the options of vector fields that name clusters and genes of a dataset.

    Raise WorkflowError if they require genes, but the principal components were given without loadings.
    """
    options = config["datasets"][wildcards.dataset]
    requested = {
        key: value for key, value in (options["vector_field"] or {}).items() if key not in VECTOR_FIELD_SETTINGS
    }
    if {"perturbations", "regulation"} & requested.keys() and "pca" in options:
        raise WorkflowError(
            f"dataset {wildcards.dataset!r}: vector_field.perturbations and vector_field.regulation require the "
            f"loadings of the principal components, which those of datasets.{wildcards.dataset}.pca do not have. Leave "
            "out that option, or these two."
        )
    return {**get_dataset_options("clusters")(wildcards), **requested}


def get_changes(wildcards):
    """Return the changes of expression of a perturbation, by gene."""
    return get_vector_field_option("perturbations")(wildcards).get(wildcards.perturbation, {})


def get_drawn_analysis(wildcards):
    """Return the file that a figure of a vector field shows."""
    place = f"results/{wildcards.dataset}/{wildcards.method}/vector_field"
    figure, _, perturbation = wildcards.figure.partition("--")
    if perturbation:
        return f"{place}/perturbations/{perturbation}.h5"
    return f"{place}/{'topography' if figure == 'streamlines' else figure}.h5"


def get_vector_field_code(wildcards):
    """Return a hash of the code that draws a figure of a vector field."""
    return get_code("draw_vector_field", f"veloshard/plotting/vector_field/{wildcards.figure.partition('--')[0]}")


def get_comparison_code(wildcards):
    """Return a hash of the code that draws a figure of all methods."""
    return get_code("draw_comparison", f"{COMPARISON}/{wildcards.figure}")


def get_requested_results():
    """Return all results that the config asks for."""
    names = ["velocity.h5ad", "genes.csv", "cells.csv", "ranking.csv", "root_sensitivity.csv", "trust.json"]
    if config["fate_probabilities"] is not False:
        names += ["fate_probabilities.csv", "lineage_drivers.csv", "fate_summary.json"]
    names += ["transition_matrix.h5ad"] if config["transition_matrix"] is not False else []
    names += ["dynamo.h5ad"] if config["dynamo"] is not False else []
    files = []
    for dataset, options in config["datasets"].items():
        place = f"results/{dataset}"
        files += collect(f"{place}/{{method}}/{{name}}", method=traits, name=names)
        files += collect(f"{place}/{{method}}/differential_kinetics.csv", method=get_methods("has_curves"))
        figures = collect("{figure}.{suffix}", figure=options["figures"]["draw"], suffix=["png", "pdf"])
        files += collect(f"{place}/{{method}}/figures/{{figure}}", method=traits, figure=figures)
        files += get_vector_field_results(dataset)
        if len(traits) > 1:
            files += collect(f"{place}/{{name}}.csv", name=["comparison", "methods", "agreement"])
            files += collect(f"{place}/figures/{{figure}}.{{suffix}}", figure=COMPARISON_FIGURES, suffix=["png", "pdf"])
    return files


def get_vector_field_results(dataset):
    """Return the tables and figures of the vector fields of a dataset, none if it does not ask for them."""
    requested = config["datasets"][dataset]["vector_field"]
    if requested is False:
        return []
    perturbations = sorted(requested.get("perturbations", ()))
    analyses = [name for key, name in VECTOR_FIELD_ANALYSES.items() if key in requested]
    tables = ["cells", "genes", "fixed_points", *analyses, *(f"perturbations/{name}" for name in perturbations)]
    tables += ["least_action_path_genes"] if "paths" in requested else []
    figures = ["streamlines", "topography", "geometry", *analyses, *(f"perturbation--{name}" for name in perturbations)]
    files = [f"{table}.csv" for table in tables]
    files += collect("figures/{figure}.{suffix}", figure=figures, suffix=["png", "pdf"])
    files = collect(f"results/{dataset}/{{method}}/vector_field/{{file}}", method=traits, file=files)
    return [*files, f"results/{dataset}/vector_field_checked.txt"]


def get_figure_style(wildcards):
    """Return the style of all figures of a dataset."""
    options = config["datasets"][wildcards.dataset]["figures"]
    return {key: options[key] for key in ("panel_size", "dpi", "font", "font_size", "palette")}


def get_figure_inputs(wildcards):
    """Return the files that a figure reads: the prepared data, and those of the analyses that its module declares."""
    dataset = f"results/{wildcards.dataset}"
    result, method = f"{dataset}/{wildcards.method}", traits[wildcards.method]
    files = {
        "fit": f"{result}/{'refit' if method['is_refitted'] else 'fit'}.h5",
        "embedding": f"{dataset}/embedding.h5",
        "velocity_embedding": f"{result}/velocity_embedding.h5",
        "confidence": f"{result}/confidence.h5",
        "pseudotime": f"{result}/pseudotime.h5",
        "posterior_scores": method["has_posterior"] and f"{result}/posterior_scores.h5",
        "differential_kinetics": method["has_curves"] and f"{result}/differential_kinetics.h5",
        "ranking": f"{result}/ranking.csv",
        "paga": f"{result}/paga.h5",
    }
    declared = declared_inputs(SCRIPTS / f"veloshard/plotting/result/{wildcards.figure}.py")
    if unknown := [name for name in declared if name not in files]:
        raise WorkflowError(
            f"figure {wildcards.figure!r}: INPUTS has {unknown[0]!r}, and figures can read {', '.join(files)}."
        )
    # some methods lack some analyses
    read = {name: files[name] for name in declared if files[name]}
    return {"prepared": f"{dataset}/prepared.h5ad", **read}


def get_figure_options(wildcards):
    """Return the options of a figure."""
    if wildcards.figure == "quality":
        return {key: value for key, value in config["quality"].items() if key != "max_duplicates"}
    chosen = {
        "phase_portraits": ("genes", "n_genes"),
        "genes": ("genes",),  # each gene takes three panels
        "differential_kinetics": ("n_genes",),
    }.get(wildcards.figure, ())
    return {key: config["datasets"][wildcards.dataset]["figures"][key] for key in chosen}


def get_figure_code(wildcards):
    """Return a hash of the code that draws a figure."""
    return get_code("draw_figure", f"veloshard/plotting/result/{wildcards.figure}")
