"""Vector fields of datasets that ask for them: geometry, topography, regulation, trajectories, paths, perturbations."""


# It has priority, as `check_options`. It is a rule of its own, because options of a vector field are no reason to
# assemble results again.
rule check_vector_field_options:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
    output:
        marker=touch("results/{dataset}/vector_field_checked.txt"),
    log:
        "logs/{dataset}/check_vector_field_options.log",
    benchmark:
        "results/benchmarks/{dataset}/check_vector_field_options.jsonl"
    params:
        code=get_code("check_vector_field_options"),
        options=get_vector_field_checks,
    priority: 100
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("read_annotations"),
        runtime=20,
    script:
        "../scripts/check_vector_field_options.py"


rule learn_vector_field:
    input:
        coordinates=lookup(
            "{basis}",
            within={"pca": "results/{dataset}/prepared.h5ad", "embedding": "results/{dataset}/embedding.h5"},
        ),
        sizes="results/{dataset}/prepared_sizes.json",
        graph="results/{dataset}/{method}/velocity_graph.h5",
    output:
        vector_field="results/{dataset}/{method}/vector_field/vector_field_{basis}.h5",
    log:
        "logs/{dataset}/{method}/vector_field/learn_vector_field/{basis}.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/vector_field/learn_vector_field/{basis}.jsonl"
    params:
        code=get_code("learn_vector_field"),
        options=get_vector_field_settings,
    conda:
        "../../envs/core.yaml"
    threads: get_threads("learn_vector_field")
    resources:
        mem_mb=get_memory("learn_vector_field"),
        runtime=get_runtime("learn_vector_field"),
    script:
        "../scripts/learn_vector_field.py"


rule compute_vector_field_geometry:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        embedding="results/{dataset}/embedding.h5",
        pca_field="results/{dataset}/{method}/vector_field/vector_field_pca.h5",
        embedding_field="results/{dataset}/{method}/vector_field/vector_field_embedding.h5",
    output:
        geometry="results/{dataset}/{method}/vector_field/geometry.h5",
        cells="results/{dataset}/{method}/vector_field/cells.csv",
        genes="results/{dataset}/{method}/vector_field/genes.csv",
    log:
        "logs/{dataset}/{method}/vector_field/compute_vector_field_geometry.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/vector_field/compute_vector_field_geometry.jsonl"
    params:
        code=get_code("compute_vector_field_geometry"),
        clusters=lookup("datasets/{dataset}/clusters", within=config, default=""),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("analyze_vector_field"),
        runtime=get_runtime("analyze_vector_field"),
    script:
        "../scripts/compute_vector_field_geometry.py"


rule compute_topography:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        embedding="results/{dataset}/embedding.h5",
        pca_field="results/{dataset}/{method}/vector_field/vector_field_pca.h5",
        embedding_field="results/{dataset}/{method}/vector_field/vector_field_embedding.h5",
    output:
        topography="results/{dataset}/{method}/vector_field/topography.h5",
        fixed_points="results/{dataset}/{method}/vector_field/fixed_points.csv",
    log:
        "logs/{dataset}/{method}/vector_field/compute_topography.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/vector_field/compute_topography.jsonl"
    params:
        code=get_code("compute_topography"),
        clusters=lookup("datasets/{dataset}/clusters", within=config, default=""),
        random_state=get_vector_field_option("random_state"),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("analyze_vector_field"),
        runtime=get_runtime("analyze_vector_field"),
    script:
        "../scripts/compute_topography.py"


rule rank_regulators:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        embedding="results/{dataset}/embedding.h5",
        pca_field="results/{dataset}/{method}/vector_field/vector_field_pca.h5",
    output:
        regulation="results/{dataset}/{method}/vector_field/regulation.h5",
        table="results/{dataset}/{method}/vector_field/regulation.csv",
    log:
        "logs/{dataset}/{method}/vector_field/rank_regulators.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/vector_field/rank_regulators.jsonl"
    params:
        code=get_code("rank_regulators"),
        clusters=lookup("datasets/{dataset}/clusters", within=config, default=""),
        genes=get_vector_field_option("regulation"),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("analyze_vector_field"),
        runtime=get_runtime("analyze_vector_field"),
    script:
        "../scripts/rank_regulators.py"


rule integrate_trajectories:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        embedding="results/{dataset}/embedding.h5",
        pca_field="results/{dataset}/{method}/vector_field/vector_field_pca.h5",
    output:
        trajectories="results/{dataset}/{method}/vector_field/trajectories.h5",
        table="results/{dataset}/{method}/vector_field/trajectories.csv",
    log:
        "logs/{dataset}/{method}/vector_field/integrate_trajectories.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/vector_field/integrate_trajectories.jsonl"
    params:
        code=get_code("integrate_trajectories"),
        clusters=lookup("datasets/{dataset}/clusters", within=config, default=""),
        options=get_vector_field_option("trajectories"),
        random_state=get_vector_field_option("random_state"),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("analyze_vector_field"),
        runtime=get_runtime("integrate_trajectories"),
    script:
        "../scripts/integrate_trajectories.py"


rule find_least_action_paths:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        embedding="results/{dataset}/embedding.h5",
        pca_field="results/{dataset}/{method}/vector_field/vector_field_pca.h5",
    output:
        paths="results/{dataset}/{method}/vector_field/least_action_paths.h5",
        table="results/{dataset}/{method}/vector_field/least_action_paths.csv",
        genes="results/{dataset}/{method}/vector_field/least_action_path_genes.csv",
    log:
        "logs/{dataset}/{method}/vector_field/find_least_action_paths.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/vector_field/find_least_action_paths.jsonl"
    params:
        code=get_code("find_least_action_paths"),
        clusters=lookup("datasets/{dataset}/clusters", within=config, default=""),
        pairs=get_vector_field_option("paths"),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("analyze_vector_field"),
        runtime=get_runtime("find_least_action_paths"),
    script:
        "../scripts/find_least_action_paths.py"


rule predict_perturbation:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        embedding="results/{dataset}/embedding.h5",
        pca_field="results/{dataset}/{method}/vector_field/vector_field_pca.h5",
    output:
        perturbed="results/{dataset}/{method}/vector_field/perturbations/{perturbation}.h5",
        genes="results/{dataset}/{method}/vector_field/perturbations/{perturbation}.csv",
    log:
        "logs/{dataset}/{method}/vector_field/predict_perturbation/{perturbation}.log",
    benchmark:
        "results/benchmarks/{dataset}/{method}/vector_field/predict_perturbation/{perturbation}.jsonl"
    params:
        code=get_code("predict_perturbation"),
        clusters=lookup("datasets/{dataset}/clusters", within=config, default=""),
        changes=get_changes,
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("analyze_vector_field"),
        runtime=get_runtime("analyze_vector_field"),
    script:
        "../scripts/predict_perturbation.py"


rule draw_vector_field:
    input:
        prepared="results/{dataset}/prepared.h5ad",
        sizes="results/{dataset}/prepared_sizes.json",
        checked="results/{dataset}/option_warnings.json",
        embedding="results/{dataset}/embedding.h5",
        analysis=get_drawn_analysis,
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
        code=get_vector_field_code,
        clusters=lookup("datasets/{dataset}/clusters", within=config, default=""),
        style=get_figure_style,
    wildcard_constraints:
        figure="[A-Za-z0-9_.-]+",
    priority: -1
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=get_memory("read_annotations"),
        runtime=get_runtime("read_annotations"),
    script:
        "../scripts/draw_vector_field.py"
