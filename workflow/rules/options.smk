"""What rules are given: inputs that depend on the data, and the options that decide what they do."""

# folder of the figures of all methods together, and what the report calls those methods
COMPARISON, ALL_METHODS = "veloshard/plotting/comparison", "all methods"

# folder of the figures of vector fields, and those options of a dataset's that say how fields are learned
FIELD_FIGURES, FIELD_SETTINGS = "veloshard/plotting/vector_field", ("n_controls", "regularization", "random_state")

# optional predictions of a vector field, and the files and figures that hold them
FIELD_PREDICTIONS = {"regulation": "regulation", "trajectories": "trajectories", "paths": "least_action_paths"}


def dataset_options(wildcards):
    """Options of a dataset."""
    return config["datasets"][wildcards.dataset]


def chosen_options(wildcards, *keys):
    """Those of a dataset's options that it has among `keys`."""
    return {key: value for key, value in dataset_options(wildcards).items() if key in keys}


def method_options(wildcards):
    """Options of a method's entry, with the `method` that runs."""
    return config["methods"][wildcards.method]


def simulation_options(wildcards):
    """Options of a dataset's simulation."""
    return dataset_options(wildcards)["simulate"]


def source_of(wildcards):
    """Where a dataset's counts are read from: a path, or paths by the names of its samples."""
    options = dataset_options(wildcards)
    if "simulate" in options:
        return f"results/{wildcards.dataset}/simulated.h5ad"
    return options.get("samples") or options["source"]


def read_by(wildcards):
    """Paths of all that a dataset is read from, with the option that names each."""
    options, key = dataset_options(wildcards), f"datasets.{wildcards.dataset}"
    source = source_of(wildcards)
    paths = {f"{key}.samples.{name}": path for name, path in source.items()} if isinstance(source, dict) else {}
    paths = paths or {f"{key}.source": source}
    if "annotations" in options:
        paths[f"{key}.annotations.source"] = options["annotations"]["source"]
    return paths


def input_of_ingest(wildcards):
    """Files and folders that a dataset is read from; WorkflowError if one is not there."""
    if "simulate" in dataset_options(wildcards):
        return [source_of(wildcards)]
    for key, path in read_by(wildcards).items():
        if not Path(path).exists():
            raise WorkflowError(
                f"dataset {wildcards.dataset!r}: there is no file {path!r} (seen from {Path.cwd()}). Set {key}."
            )
    # what counts is the content, see below: a file that was touched or copied is no reason to begin again
    return ancient(list(read_by(wildcards).values()))


def files_of_source(wildcards):
    """All files that a dataset may be read from, those in folders too; none where a rule of ours makes it."""
    if "simulate" in dataset_options(wildcards):
        return []
    return [file for path in read_by(wildcards).values() for file in files_below(Path(path))]


def files_below(path):
    """A file, or those in a folder that can be a matrix or go with one: alignments beside it can not."""
    if not path.is_dir():
        return [str(path)]
    is_zarr = any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zattrs"))
    files, seen = [], set()
    for folder, folders, names in os.walk(path, followlinks=True):
        # links may lead round in circles
        seen.add(os.path.realpath(folder))
        folders[:] = sorted(name for name in folders if os.path.realpath(f"{folder}/{name}") not in seen)
        found = [Path(folder, name) for name in sorted(names)]
        files += [file for file in found if is_zarr or {".mtx", ".tsv", ".txt", ".json"} & set(file.suffixes[-2:])]
    return [str(file) for file in files if file.is_file()]


def content_of_source(wildcards):
    """Hash of the files that a dataset is read from, '' where a rule of ours makes it."""
    if "simulate" in dataset_options(wildcards):
        return ""
    return content_of(files_of_source(wildcards), wildcards.dataset)


def content_of(files, name):
    """Hash of some files, computed anew only where size or time of one are others than they were last under this name."""
    record = Path(f".snakemake/sources/{name}.json")
    seen = [[file, Path(file).stat().st_size, Path(file).stat().st_mtime_ns] for file in files]
    if record.exists():
        known = json.loads(record.read_text())
        if known["files"] == seen:
            return known["sha256"]
    digests = []
    for file in files:
        with open(file, "rb") as opened:
            digests.append(hashlib.file_digest(opened, "sha256").hexdigest())
    content = digests[0] if len(files) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    # whole or not at all: several processes plan at once
    record.parent.mkdir(parents=True, exist_ok=True)
    unfinished = record.with_suffix(f".{os.getpid()}")
    unfinished.write_text(json.dumps({"files": seen, "sha256": content}))
    unfinished.replace(record)
    return content


def ingest_options(wildcards):
    """Options of a dataset by which its source is read."""
    options = chosen_options(wildcards, "format", "layers", "join", "annotations", "pca", "neighbors")
    return {**options, **config["ingest"]}


def asked_options(wildcards):
    """Options of a dataset that name what must be in it."""
    return chosen_options(wildcards, "clusters", "root", "terminal_states", "expected", "embedding", "cells", "genes")


def asked_of_fields(wildcards):
    """Options of a dataset that name what its vector fields are asked of; WorkflowError where that cannot be told."""
    asked = {key: value for key, value in field_options(wildcards).items() if key not in FIELD_SETTINGS}
    if {"perturbations", "regulation"} & asked.keys() and "pca" in dataset_options(wildcards):
        raise WorkflowError(
            f"dataset {wildcards.dataset!r}: components that were brought (datasets.{wildcards.dataset}.pca) do not say "
            "what they are of genes. Leave out that option, or vector_field.perturbations and vector_field.regulation."
        )
    return {**chosen_options(wildcards, "clusters"), **asked}


def field_options(wildcards):
    """What is asked of the vector fields of a dataset."""
    return dataset_options(wildcards).get("vector_field", {})


def asked_of_field(wildcards, key):
    """An option of the vector fields of a dataset; WorkflowError where it has none."""
    if key not in field_options(wildcards):
        option = "vector_field" if key in FIELD_SETTINGS else f"vector_field.{key}"
        raise WorkflowError(
            f"dataset {wildcards.dataset!r} does not ask for this. Set datasets.{wildcards.dataset}.{option}."
        )
    return field_options(wildcards)[key]


def field_settings(wildcards):
    """How the vector fields of a dataset are learned."""
    asked_of_field(wildcards, "random_state")
    return {key: value for key, value in field_options(wildcards).items() if key in FIELD_SETTINGS}


def field_state(wildcards):
    """Seed of all that is drawn of the vector fields of a dataset."""
    return asked_of_field(wildcards, "random_state")


def coordinates_of_basis(wildcards):
    """Where the places of the cells are that a field is learned on."""
    place = f"results/{wildcards.dataset}"
    return f"{place}/prepared.h5ad" if wildcards.basis == "pca" else f"{place}/embedding.h5"


def regulation_of(wildcards):
    """Genes of which regulation is told."""
    return asked_of_field(wildcards, "regulation")


def trajectories_of(wildcards):
    """Which cells are followed, and which way."""
    return asked_of_field(wildcards, "trajectories")


def paths_of(wildcards):
    """Pairs of clusters between which paths are sought."""
    return asked_of_field(wildcards, "paths")


def changes_of(wildcards):
    """Changes of expression of a perturbation, by genes."""
    return asked_of_field(wildcards, "perturbations").get(wildcards.perturbation, {})


def found_in_field(wildcards):
    """The file that a figure of a vector field draws."""
    place = f"results/{wildcards.dataset}/{wildcards.method}/vector_field"
    figure, _, perturbation = wildcards.figure.partition("--")
    if perturbation:
        return f"{place}/perturbations/{perturbation}.h5"
    return f"{place}/{'topography' if figure == 'streamlines' else figure}.h5"


def field_figure_code(wildcards):
    """Hash of the code that draws this figure of a vector field."""
    return code_of("draw_vector_field", f"{FIELD_FIGURES}/{wildcards.figure.partition('--')[0]}")


def field_results():
    """Tables and figures of the vector fields that datasets ask for."""
    found = []
    for dataset, options in config["datasets"].items():
        asked = options.get("vector_field")
        if asked is None:
            continue
        names = sorted(asked.get("perturbations", ()))
        extra = [figure for key, figure in FIELD_PREDICTIONS.items() if key in asked]
        files = ["cells.csv", "genes.csv", "fixed_points.csv", *(f"{name}.csv" for name in extra)]
        files += ["least_action_path_genes.csv"] if "paths" in asked else []
        files += [f"perturbations/{name}.csv" for name in names]
        figures = ["streamlines", "topography", "geometry", *extra, *(f"perturbation--{name}" for name in names)]
        files += expand("figures/{figure}.{suffix}", figure=figures, suffix=["png", "pdf"])
        found += expand(f"results/{dataset}/{{method}}/vector_field/{{file}}", method=config["methods"], file=files)
        found.append(f"results/{dataset}/vector_field_checked.txt")
    return found


def prepare_options(wildcards):
    """Options by which a dataset is filtered and normalized."""
    return {**config["preprocess"], **chosen_options(wildcards, "cells", "genes", "pca", "neighbors")}


def embedding_options(wildcards):
    """Options of the embedding of a dataset."""
    return {
        "random_state": config["preprocess"]["random_state"],
        **chosen_options(wildcards, "embedding"),
    }


def clusters_of(wildcards):
    """Column of a dataset with its clusters, '' for none."""
    return dataset_options(wildcards).get("clusters", "")


def fit_code(wildcards):
    """Hash of the code that fits by this method."""
    return code_of("fit_genes", "merge_fits", f"veloshard/kinetics/methods/{method_options(wildcards)['method']}")


def refit_code(wildcards):
    """Hash of the code that fits again, by this method."""
    return code_of("refit_genes", f"veloshard/kinetics/methods/{method_options(wildcards)['method']}")


def fit_of(wildcards):
    """The fit that all analyses read: the merged one, or that with clusters' own kinetics."""
    return f"results/{wildcards.dataset}/{wildcards.method}/{name_of_fit(wildcards.method)}.h5"


def fits_of(wildcards):
    """Those of all methods, in their order."""
    place = f"results/{wildcards.dataset}"
    return [f"{place}/{method}/{name_of_fit(method)}.h5" for method in config["methods"]]


def name_of_fit(method):
    """Whether a method's fit is the merged one, or made again."""
    return "refit" if config["kinetics"]["refit"] and method in dynamical_methods() else "fit"


def of_each_method(file):
    """A file of each method of a dataset, in their order."""
    return [f"results/{{dataset}}/{method}/{file}" for method in config["methods"]]


def truth_of(wildcards):
    """The file that may hold true velocities of a dataset, if its counts are of a single such file."""
    source = source_of(wildcards)
    if "simulate" in dataset_options(wildcards):
        return source
    # its content counts by what was ingested of it
    return ancient(source) if isinstance(source, str) and source.endswith(".h5ad") else []


def kinetics_of(wildcards):
    """The test of differential kinetics, for methods that have one."""
    return f"results/{wildcards.dataset}/{wildcards.method}/differential_kinetics.h5" if has_kinetics(wildcards) else []


def kinetics_table_of(wildcards):
    """The table of differential kinetics, for methods that have one."""
    table = f"results/{wildcards.dataset}/{wildcards.method}/differential_kinetics.csv"
    return table if has_kinetics(wildcards) else []


def has_kinetics(wildcards):
    """Whether a method fits curves, which clusters may leave."""
    return wildcards.method in dynamical_methods()


def compiled_fit(wildcards):
    """What says that this method's code is compiled: named by the code and the options that choose among it.

    Nothing for methods that are not gene-wise.
    """
    if wildcards.method not in gene_wise_methods():
        return []
    chosen = json.dumps([fit_code(wildcards), method_options(wildcards)], sort_keys=True)
    key = hashlib.sha256(chosen.encode()).hexdigest()[:8]
    return f"results/compiled/fit/{wildcards.method}.{key}.txt"


def stabilizes_variance(wildcards):
    """Whether correlations are taken of square roots."""
    chosen = config["graph"]["variance_stabilization"]
    return method_options(wildcards)["method"] == "stochastic" if chosen == "auto" else chosen


def scales_genes(wildcards):
    """Whether correlations are taken of genes that are scaled to one range."""
    chosen, method = config["graph"]["scale_genes"], method_options(wildcards)["method"]
    return models.get(method, {}).get("scale_genes", False) if chosen == "auto" else chosen


def prepared_sizes(wildcards):
    """Sizes of a dataset; where it is not yet prepared, Snakemake asks again when it is."""
    return json.loads(Path(checkpoints.prepare_data.get(dataset=wildcards.dataset).output.sizes).read_text())


def shard_files(wildcards, folder, n_shards):
    """Files of all shards of a result."""
    place = f"results/{wildcards.dataset}/{wildcards.method}/{folder}"
    return [f"{place}/{number}-of-{n_shards}.h5" for number in range(1, n_shards + 1)]


def fit_shards(wildcards):
    """Gene shards of a result: as many as the config says, or as its dataset's number of genes asks for."""
    n_shards = config["shards"]
    if "genes_per_shard" in config:
        n_shards = -(-prepared_sizes(wildcards)["n_genes"] // config["genes_per_shard"])
    return shard_files(wildcards, "fit_shards", n_shards)


def graph_shards(wildcards):
    """Graph shards of a result: as many as its dataset's number of cells asks for."""
    n_shards = -(-prepared_sizes(wildcards)["n_cells"] // config["graph"]["cells_per_shard"])
    return shard_files(wildcards, "velocity_graph_shards", n_shards)


def root_of(wildcards):
    """Cluster in which a dataset's process starts, '' for none."""
    return dataset_options(wildcards).get("root", "")


def genes_of(wildcards):
    """Which genes of a dataset are left out everywhere."""
    return dataset_options(wildcards).get("genes", {})


def expected_of(wildcards):
    """Pairs of clusters, from and to, that cells of a dataset are known to go between."""
    return dataset_options(wildcards).get("expected", [])


def controls_code(wildcards):
    """Hash of the code that fits by this method and by those that it is compared with."""
    names = {"steady_state", "stochastic", "dynamical"}
    return code_of("run_negative_controls", *(f"veloshard/kinetics/methods/{name}" for name in sorted(names)))


def fit_to_control(wildcards):
    """The fit whose controls are run: nothing for gene-wise methods, which are run again on the controls' cells."""
    return [] if wildcards.method in gene_wise_methods() else fit_of(wildcards)


def modeled_controls(wildcards):
    """What a model made of the controls that the config asks for; nothing for other methods."""
    place = f"results/{wildcards.dataset}/{wildcards.method}/controls"
    return [f"{place}/{control}.h5" for control in controls_of_model(wildcards)]


def controls_of_model(wildcards):
    """Controls that a model is run on; none for other methods."""
    return config["trust"]["model_controls"] if wildcards.method in model_methods() else []


def reported_options(wildcards):
    """The options that decided a result: what its file says of its making."""
    return {
        "dataset_name": wildcards.dataset,
        "method_name": wildcards.method,
        "dataset": {
            key: value
            for key, value in dataset_options(wildcards).items()
            if key not in ("expected", "terminal_states", "vector_field")
        },
        "ingest": config["ingest"],
        "preprocess": config["preprocess"],
        "method": method_options(wildcards),
        "variance_stabilization": config["graph"]["variance_stabilization"],
        "scale_genes": config["graph"]["scale_genes"],
        **({"kinetics": config["kinetics"]} if has_kinetics(wildcards) else {}),
        **({"external_sha256": external_content(wildcards)} if wildcards.method in external_methods() else {}),
    }


def wanted_results():
    """All results of the run, for which nothing was asked beyond them."""
    place, every = "results/{dataset}/{method}", {"dataset": config["datasets"], "method": config["methods"]}
    names = ["velocity.h5ad", "genes.csv", "cells.csv", "ranking.csv", "root_sensitivity.csv", "trust.json"]
    names += ["fate_probabilities.csv", "lineage_drivers.csv", "fate_summary.json"] if config["fates"]["enabled"] else []
    names += ["transition_matrix.h5ad"] if config["transitions"] else []
    names += ["dynamo.h5ad"] if config["dynamo"] else []
    files = expand(f"{place}/{{file}}", file=names, **every)
    files += expand(f"{place}/differential_kinetics.csv", dataset=config["datasets"], method=dynamical_methods())
    files += (compared_results() if has_comparison() else []) + field_results()
    return files + expand(
        f"{place}/figures/{{figure}}.{{suffix}}", figure=config["figures"]["draw"], suffix=["png", "pdf"], **every
    )


def compared_results():
    """Tables and figures of all methods of each dataset."""
    every = {"dataset": config["datasets"]}
    files = expand("results/{dataset}/{file}.csv", file=["comparison", "methods", "agreement"], **every)
    return files + expand(
        "results/{dataset}/figures/{figure}.{suffix}", figure=comparison_figures(), suffix=["png", "pdf"], **every
    )


def has_comparison():
    """Whether there are methods to compare."""
    return len(config["methods"]) > 1


def comparison_figures():
    """Names of the figures of all methods together: their files."""
    return sorted(path.stem for path in (SCRIPTS / COMPARISON).glob("[!_]*.py"))


def dynamical_methods():
    """Names of the methods whose curves are fitted to."""
    return [name for name, options in config["methods"].items() if options["method"] == "dynamical"]


def gene_wise_methods():
    """Names of the methods that fit each gene by itself, in shards."""
    return [name for name in config["methods"] if name not in (*model_methods(), *external_methods())]


def model_methods():
    """Names of the methods that are other people's models."""
    return [name for name, options in config["methods"].items() if options["method"] in models]


def external_methods():
    """Names of the methods whose velocities were made elsewhere."""
    return [name for name, options in config["methods"].items() if options["method"] == "external"]


def external_source(wildcards):
    """File with a dataset's velocities that were made elsewhere; WorkflowError if it is not there."""
    path = method_options(wildcards)["source"].replace("{dataset}", wildcards.dataset)
    if not Path(path).is_file():
        raise WorkflowError(
            f"method {wildcards.method!r}, dataset {wildcards.dataset!r}: there is no file {path!r} (seen from "
            f"{Path.cwd()}). Set methods.{wildcards.method}.source."
        )
    # as for the counts, what counts is the content
    return ancient(path)


def external_content(wildcards):
    """Hash of the file with a dataset's velocities that were made elsewhere."""
    return content_of([str(external_source(wildcards))], f"{wildcards.dataset}/{wildcards.method}")


def external_options(wildcards):
    """Options by which velocities that were made elsewhere are read."""
    return {key: value for key, value in method_options(wildcards).items() if key not in ("method", "source")}


def model_of(wildcards):
    """The model that a method runs."""
    return method_options(wildcards)["method"]


def model_options(wildcards):
    """Options of a model, as JSON for a command line."""
    options = {key: value for key, value in method_options(wildcards).items() if key != "method"}
    return json.dumps(options, sort_keys=True)


def uncertainty_of(wildcards):
    """What posterior samples say, for methods that have them."""
    has_samples = method_options(wildcards).get("n_samples", 0) > 1
    return f"results/{wildcards.dataset}/{wildcards.method}/posterior_scores.h5" if has_samples else []


def model_code(wildcards):
    """Hash of the program that runs a model."""
    return code_of("run_model", f"models/{model_of(wildcards)}")


def model_yaml(wildcards):
    """What --sdm conda makes a model's environment of."""
    return str(WORKFLOW.parent / f"envs/{model_of(wildcards)}.yaml")


def model_environment(wildcards):
    """Environment that a model runs in."""
    return environment_of(
        model_of(wildcards), f"the method {wildcards.method} ({models[model_of(wildcards)]['title']})"
    )


def cellrank_environment(wildcards):
    """Environment that fates are computed in."""
    return environment_of("cellrank", "fates (by CellRank)")


def fate_options(wildcards):
    """Options of the fates of a dataset, as JSON for a command line."""
    options = {key: value for key, value in config["fates"].items() if key != "enabled"}
    return json.dumps({**options, **chosen_options(wildcards, "clusters", "root", "terminal_states")}, sort_keys=True)


def figure_options(wildcards):
    """Options of one figure."""
    if wildcards.figure == "quality":
        return {key: value for key, value in config["quality"].items() if key != "max_duplicates"}
    chosen = {
        "phase_portraits": ("genes", "n_genes"),
        "genes": ("genes",),  # each takes three panels: not so many by default
        "differential_kinetics": ("n_genes",),
    }.get(wildcards.figure, ())
    return {key: config["figures"][key] for key in chosen}


def figure_style(wildcards):
    """Look of all figures."""
    return {key: config["figures"][key] for key in ("panel_size", "dpi", "font", "font_size", "palette")}


def comparison_code(wildcards):
    """Hash of the code that draws this figure of all methods."""
    return code_of("draw_comparison", f"{COMPARISON}/{wildcards.figure}")


def figure_code(wildcards):
    """Hash of the code that draws this figure."""
    return code_of("draw_figure", f"veloshard/plotting/result/{wildcards.figure}")
