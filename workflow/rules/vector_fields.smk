"""The function behind the arrows, for datasets that ask for it: learned, differentiated, mapped, followed, perturbed."""


# As `check_options`, with priority before the fits, and apart from it: what is asked of a field is no reason to put results
# together again.
rule check_fields:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/sizes.json",
    output:
        touch("results/{dataset}/vector_field_checked.txt"),
    log:
        "logs/{dataset}/check_fields.log",
    benchmark:
        "results/benchmarks/{dataset}/check_fields.jsonl"
    params:
        code=code_of("check_fields"),
        options=asked_of_fields,
    priority: 100
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=annotations_memory,
        runtime=20,
    script:
        "../scripts/check_fields.py"


rule learn_field:
    input:
        places=places_of_space,
        sizes="results/{dataset}/sizes.json",
        graph="results/{dataset}/{method}/graph.h5",
    output:
        "results/{dataset}/{method}/vector_field/{space}.h5",
    log:
        "logs/{dataset}/{method}/vector_field/learn_field/{space}.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/vector_field/learn_field/{space}.jsonl"
    params:
        code=code_of("learn_field"),
        options=field_settings,
    conda:
        "../../envs/core.yaml"
    threads: field_threads
    resources:
        mem_mb=field_memory,
        runtime=field_time,
    script:
        "../scripts/learn_field.py"


rule describe_field:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/sizes.json",
        embedding="results/{dataset}/embedding.h5",
        field="results/{dataset}/{method}/vector_field/components.h5",
        plane="results/{dataset}/{method}/vector_field/embedding.h5",
    output:
        geometry="results/{dataset}/{method}/vector_field/geometry.h5",
        cells="results/{dataset}/{method}/vector_field/cells.csv",
        genes="results/{dataset}/{method}/vector_field/genes.csv",
    log:
        "logs/{dataset}/{method}/vector_field/describe_field.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/vector_field/describe_field.jsonl"
    params:
        code=code_of("describe_field"),
        clusters=clusters_of,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=portrait_memory,
        runtime=portrait_time,
    script:
        "../scripts/describe_field.py"


rule map_topography:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/sizes.json",
        embedding="results/{dataset}/embedding.h5",
        field="results/{dataset}/{method}/vector_field/components.h5",
        plane="results/{dataset}/{method}/vector_field/embedding.h5",
    output:
        topography="results/{dataset}/{method}/vector_field/topography.h5",
        points="results/{dataset}/{method}/vector_field/fixed_points.csv",
    log:
        "logs/{dataset}/{method}/vector_field/map_topography.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/vector_field/map_topography.jsonl"
    params:
        code=code_of("map_topography"),
        clusters=clusters_of,
        random_state=field_state,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=portrait_memory,
        runtime=portrait_time,
    script:
        "../scripts/map_topography.py"


rule rank_regulation:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/sizes.json",
        embedding="results/{dataset}/embedding.h5",
        field="results/{dataset}/{method}/vector_field/components.h5",
    output:
        regulation="results/{dataset}/{method}/vector_field/regulation.h5",
        table="results/{dataset}/{method}/vector_field/regulation.csv",
    log:
        "logs/{dataset}/{method}/vector_field/rank_regulation.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/vector_field/rank_regulation.jsonl"
    params:
        code=code_of("rank_regulation"),
        clusters=clusters_of,
        genes=regulation_of,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=portrait_memory,
        runtime=portrait_time,
    script:
        "../scripts/rank_regulation.py"


rule follow_cells:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/sizes.json",
        embedding="results/{dataset}/embedding.h5",
        field="results/{dataset}/{method}/vector_field/components.h5",
    output:
        trajectories="results/{dataset}/{method}/vector_field/trajectories.h5",
        table="results/{dataset}/{method}/vector_field/trajectories.csv",
    log:
        "logs/{dataset}/{method}/vector_field/follow_cells.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/vector_field/follow_cells.jsonl"
    params:
        code=code_of("follow_cells"),
        clusters=clusters_of,
        options=trajectories_of,
        random_state=field_state,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=portrait_memory,
        runtime=courses_time,
    script:
        "../scripts/follow_cells.py"


rule find_paths:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/sizes.json",
        embedding="results/{dataset}/embedding.h5",
        field="results/{dataset}/{method}/vector_field/components.h5",
    output:
        paths="results/{dataset}/{method}/vector_field/paths.h5",
        table="results/{dataset}/{method}/vector_field/paths.csv",
        genes="results/{dataset}/{method}/vector_field/path_genes.csv",
    log:
        "logs/{dataset}/{method}/vector_field/find_paths.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/vector_field/find_paths.jsonl"
    params:
        code=code_of("find_paths"),
        clusters=clusters_of,
        pairs=paths_of,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=portrait_memory,
        runtime=paths_time,
    script:
        "../scripts/find_paths.py"


rule perturb_cells:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/sizes.json",
        embedding="results/{dataset}/embedding.h5",
        field="results/{dataset}/{method}/vector_field/components.h5",
    output:
        perturbed="results/{dataset}/{method}/vector_field/perturbations/{perturbation}.h5",
        genes="results/{dataset}/{method}/vector_field/perturbations/{perturbation}.csv",
    log:
        "logs/{dataset}/{method}/vector_field/perturb_cells/{perturbation}.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/vector_field/perturb_cells/{perturbation}.jsonl"
    params:
        code=code_of("perturb_cells"),
        clusters=clusters_of,
        changes=changes_of,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=portrait_memory,
        runtime=portrait_time,
    script:
        "../scripts/perturb_cells.py"


rule draw_field:
    input:
        result="results/{dataset}/{method}/velocity.h5ad",
        sizes="results/{dataset}/sizes.json",
        found=found_in_field,
    output:
        png=report(
            "results/{dataset}/{method}/vector_field/figures/{portrait}.png",
            caption="../report/field_figure.rst",
            category="{dataset}",
            subcategory="{method}",
            labels={"figure": "vector field: {portrait}"},
        ),
        pdf="results/{dataset}/{method}/vector_field/figures/{portrait}.pdf",
    log:
        "logs/{dataset}/{method}/vector_field/draw_field/{portrait}.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/vector_field/draw_field/{portrait}.jsonl"
    params:
        code=field_figure_code,
        style=figure_style,
    wildcard_constraints:
        portrait="[A-Za-z0-9_.-]+",
    priority: -1
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=annotations_memory,
        runtime=annotations_time,
    script:
        "../scripts/draw_field.py"
