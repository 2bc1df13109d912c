"""Figures of a result: each its own job, so that one that fails holds up nothing."""


def figure_options(wildcards):
    """Options of one figure."""
    chosen = {"phase_portraits": ("genes", "n_genes")}.get(wildcards.figure, ())
    return {key: config["figures"][key] for key in chosen}


def figure_style(wildcards):
    """Look of all figures."""
    return {key: config["figures"][key] for key in ("panel_size", "dpi", "font_size", "palette")}


def figure_code(wildcards):
    """Hash of the code that draws this figure."""
    return code_of("draw_figure", f"figures/{wildcards.figure}")


def figure_memory(wildcards, input, attempt):
    """Annotations and embeddings of the cells; of layers only single genes are read."""
    return megabytes(2000 * sizes_of(input)["n_cells"], attempt)


rule draw_figure:
    input:
        result="results/{dataset}/{method}/velocity.h5ad",
        sizes="results/{dataset}/sizes.json",
    output:
        png="results/{dataset}/{method}/figures/{figure}.png",
        pdf="results/{dataset}/{method}/figures/{figure}.pdf",
    log:
        "logs/{dataset}/{method}/draw_figure/{figure}.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/draw_figure/{figure}.jsonl"
    params:
        code=figure_code,
        options=figure_options,
        style=figure_style,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=figure_memory,
        runtime=20,
    script:
        "../scripts/draw_figure.py"
