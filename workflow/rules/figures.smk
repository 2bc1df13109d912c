"""Draw the figures of a result.

Each figure is a job of its own and reads only the analyses that it shows. A failing analysis stops no other figure.
"""


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
    # some methods lack some analyses
    declared = declared_inputs(SCRIPTS / f"veloshard/plotting/result/{wildcards.figure}.py")
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


rule draw_figure:
    input:
        unpack(get_figure_inputs),
        sizes="results/{dataset}/prepared_sizes.json",
        # an unknown cluster stops the run also where a figure is all that is asked for
        checked="results/{dataset}/option_warnings.json",
    output:
        png=report(
            "results/{dataset}/{method}/figures/{figure}.png",
            caption="../report/figure.rst",
            category="{dataset}",
            subcategory="{method}",
            labels={"figure": "{figure}"},
        ),
        pdf="results/{dataset}/{method}/figures/{figure}.pdf",
    log:
        "logs/{dataset}/{method}/draw_figure/{figure}.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/draw_figure/{figure}.jsonl"
    params:
        code=get_figure_code,
        clusters=lookup("datasets/{dataset}/clusters", within=config, default=""),
        options=get_figure_options,
        style=get_figure_style,
    # figures come last, where there are few processors
    priority: -1
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("draw_figure"),
        runtime=get_runtime("draw_figure"),
    script:
        "../scripts/draw_figure.py"
