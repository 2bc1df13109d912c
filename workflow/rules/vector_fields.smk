"""The function behind the arrows, for datasets that ask for it: learned, differentiated, mapped, followed, perturbed."""


# As `check_options`, with priority before the fits, and apart from it: what is asked of a field is no reason to put results
# together again.
rule check_vector_field_options:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
    output:
        touch("results/{dataset}/vector_field_checked.txt"),
    log:
        "logs/{dataset}/check_vector_field_options.log",
    benchmark:
        "results/benchmarks/{dataset}/check_vector_field_options.jsonl"
    params:
        code=code_of("check_vector_field_options"),
        options=asked_of_fields,
    priority: 100
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=annotations_memory,
        runtime=20,
    script:
        "../scripts/check_vector_field_options.py"


rule learn_vector_field:
    input:
        coordinates=coordinates_of_basis,
        sizes="results/{dataset}/prepared_sizes.json",
        graph="results/{dataset}/{method}/velocity_graph.h5",
    output:
        "results/{dataset}/{method}/vector_field/vector_field_{basis}.h5",
    log:
        "logs/{dataset}/{method}/vector_field/learn_vector_field/{basis}.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/vector_field/learn_vector_field/{basis}.jsonl"
    params:
        code=code_of("learn_vector_field"),
        options=field_settings,
    conda:
        "../../envs/core.yaml"
    threads: field_threads
    resources:
        mem_mb=field_memory,
        runtime=field_time,
    script:
        "../scripts/learn_vector_field.py"


rule compute_vector_field_geometry:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        embedding="results/{dataset}/embedding.h5",
        field="results/{dataset}/{method}/vector_field/vector_field_pca.h5",
        plane="results/{dataset}/{method}/vector_field/vector_field_embedding.h5",
    output:
        geometry="results/{dataset}/{method}/vector_field/geometry.h5",
        cells="results/{dataset}/{method}/vector_field/cells.csv",
        genes="results/{dataset}/{method}/vector_field/genes.csv",
    log:
        "logs/{dataset}/{method}/vector_field/compute_vector_field_geometry.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/vector_field/compute_vector_field_geometry.jsonl"
    params:
        code=code_of("compute_vector_field_geometry"),
        clusters=clusters_of,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=portrait_memory,
        runtime=portrait_time,
    script:
        "../scripts/compute_vector_field_geometry.py"


rule compute_topography:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        embedding="results/{dataset}/embedding.h5",
        field="results/{dataset}/{method}/vector_field/vector_field_pca.h5",
        plane="results/{dataset}/{method}/vector_field/vector_field_embedding.h5",
    output:
        topography="results/{dataset}/{method}/vector_field/topography.h5",
        points="results/{dataset}/{method}/vector_field/fixed_points.csv",
    log:
        "logs/{dataset}/{method}/vector_field/compute_topography.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/vector_field/compute_topography.jsonl"
    params:
        code=code_of("compute_topography"),
        clusters=clusters_of,
        random_state=field_state,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=portrait_memory,
        runtime=portrait_time,
    script:
        "../scripts/compute_topography.py"


rule rank_regulators:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        embedding="results/{dataset}/embedding.h5",
        field="results/{dataset}/{method}/vector_field/vector_field_pca.h5",
    output:
        regulation="results/{dataset}/{method}/vector_field/regulation.h5",
        table="results/{dataset}/{method}/vector_field/regulation.csv",
    log:
        "logs/{dataset}/{method}/vector_field/rank_regulators.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/vector_field/rank_regulators.jsonl"
    params:
        code=code_of("rank_regulators"),
        clusters=clusters_of,
        genes=regulation_of,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=portrait_memory,
        runtime=portrait_time,
    script:
        "../scripts/rank_regulators.py"


rule integrate_trajectories:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        embedding="results/{dataset}/embedding.h5",
        field="results/{dataset}/{method}/vector_field/vector_field_pca.h5",
    output:
        trajectories="results/{dataset}/{method}/vector_field/trajectories.h5",
        table="results/{dataset}/{method}/vector_field/trajectories.csv",
    log:
        "logs/{dataset}/{method}/vector_field/integrate_trajectories.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/vector_field/integrate_trajectories.jsonl"
    params:
        code=code_of("integrate_trajectories"),
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
        "../scripts/integrate_trajectories.py"


rule find_least_action_paths:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        embedding="results/{dataset}/embedding.h5",
        field="results/{dataset}/{method}/vector_field/vector_field_pca.h5",
    output:
        paths="results/{dataset}/{method}/vector_field/least_action_paths.h5",
        table="results/{dataset}/{method}/vector_field/least_action_paths.csv",
        genes="results/{dataset}/{method}/vector_field/least_action_path_genes.csv",
    log:
        "logs/{dataset}/{method}/vector_field/find_least_action_paths.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/vector_field/find_least_action_paths.jsonl"
    params:
        code=code_of("find_least_action_paths"),
        clusters=clusters_of,
        pairs=paths_of,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=portrait_memory,
        runtime=paths_time,
    script:
        "../scripts/find_least_action_paths.py"


rule predict_perturbation:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        embedding="results/{dataset}/embedding.h5",
        field="results/{dataset}/{method}/vector_field/vector_field_pca.h5",
    output:
        perturbed="results/{dataset}/{method}/vector_field/perturbations/{perturbation}.h5",
        genes="results/{dataset}/{method}/vector_field/perturbations/{perturbation}.csv",
    log:
        "logs/{dataset}/{method}/vector_field/predict_perturbation/{perturbation}.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/vector_field/predict_perturbation/{perturbation}.jsonl"
    params:
        code=code_of("predict_perturbation"),
        clusters=clusters_of,
        changes=changes_of,
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=portrait_memory,
        runtime=portrait_time,
    script:
        "../scripts/predict_perturbation.py"


rule draw_vector_field:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        checked="results/{dataset}/option_warnings.json",
        embedding="results/{dataset}/embedding.h5",
        found=found_in_field,
    output:
        png=report(
            "results/{dataset}/{method}/vector_field/figures/{figure}.png",
            caption="../report/field_figure.rst",
            category="{dataset}",
            subcategory="{method}",
            labels={"figure": "vector field: {figure}"},
        ),
        pdf="results/{dataset}/{method}/vector_field/figures/{figure}.pdf",
    log:
        "logs/{dataset}/{method}/vector_field/draw_vector_field/{figure}.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/vector_field/draw_vector_field/{figure}.jsonl"
    params:
        code=field_figure_code,
        clusters=clusters_of,
        style=figure_style,
    wildcard_constraints:
        figure="[A-Za-z0-9_.-]+",
    priority: -1
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=annotations_memory,
        runtime=annotations_time,
    script:
        "../scripts/draw_vector_field.py"
