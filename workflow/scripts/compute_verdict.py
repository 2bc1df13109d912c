from veloshard import runtime
from veloshard.evaluation.verdict import compute_check_values, compute_verdict, score_expected_transitions
from veloshard.io.hdf5 import load_arrays
from veloshard.io.prepared import load_annotations, load_prepared
from veloshard.io.text_files import load_json, save_json
from veloshard.labels import as_label, as_labels, in_cluster

runtime.start(snakemake)
files, params = snakemake.input, snakemake.params
obs, (embedding,) = load_annotations(files.prepared).obs, load_arrays(files.embedding).values()
transitions = score_expected_transitions(
    [[as_label(label) for label in pair] for pair in params.expected],
    load_arrays(files.velocity_embedding)["velocity_embedding"],
    embedding,
    load_prepared(files.prepared).distances,
    as_labels(obs[params.clusters]).to_numpy() if params.clusters else None,
)
values = compute_check_values(
    load_json(files.quality),
    load_json(files.controls),
    in_root_cluster=in_cluster(obs, params.clusters, params.root),
    detected_roots=load_arrays(files.pseudotime).get("detected_root_cells"),
    transitions=transitions,
)
verdict = compute_verdict(values, unspliced=params.unspliced, key="quality.max_unspliced_fraction")
save_json(snakemake.output.verdict, {**verdict, "transitions": transitions})
