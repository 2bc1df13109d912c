"""Draw the figures of a result.

Each figure is a job of its own and reads only the analyses that it shows. A failing analysis stops no other figure.
"""


def get_figure_inputs(wildcards):
    """Return the files that a figure reads: the prepared data, and those of the analyses that its module declares."""
    dataset = f"results/{wildcards.dataset}"
    result = f"{dataset}/{wildcards.method}"
    files = {
        "fit": fit_of(wildcards),
        "embedding": f"{dataset}/embedding.h5",
        "velocity_embedding": f"{result}/velocity_embedding.h5",
        "confidence": f"{result}/confidence.h5",
        "pseudotime": f"{result}/pseudotime.h5",
        "posterior_scores": uncertainty_of(wildcards),
        "differential_kinetics": kinetics_of(wildcards),
        "ranking": f"{result}/ranking.csv",
        "paga": f"{result}/paga.h5",
    }
    # some methods lack some analyses
    read = {name: files[name] for name in read_declared_inputs(wildcards.figure) if files[name]}
    return {"prepared": f"{dataset}/prepared.h5ad", **read}


@functools.cache
def read_declared_inputs(figure):
    """Return the constant `INPUTS` of the module of a figure, without importing the module."""
    tree = ast.parse((SCRIPTS / f"veloshard/plotting/result/{figure}.py").read_text())
    (inputs,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "INPUTS"
    ]
    return inputs


def get_figure_memory(wildcards, input, attempt):
    """Return the requested memory of a figure in MB: annotations, and the neighbor graph for moments of genes."""
    sizes = sizes_of(input)
    # 8 bytes per edge, twice while the parts of the graph are joined
    return megabytes(2000 * sizes["n_cells"] + 16 * sizes["n_edges"], attempt)


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
        code=figure_code,
        clusters=clusters_of,
        options=figure_options,
        style=figure_style,
    # after all data, where there are few processors: one that fails is no loss then
    priority: -1
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=get_figure_memory,
        runtime=annotations_time,
    script:
        "../scripts/draw_figure.py"
