from veloshard import runtime, selection, store, trust

runtime.start(snakemake)
files, params = snakemake.input, snakemake.params
obs, (places,) = store.load_annotations(files.prepared).obs, store.load_arrays(files.embedding).values()
transitions = trust.expected_transitions(
    [[selection.as_label(label) for label in pair] for pair in params.expected],
    store.load_arrays(files.projection)["arrows"],
    places,
    store.load_prepared(files.prepared).distances,
    selection.as_labels(obs[params.clusters]).to_numpy() if params.clusters else None,
)
values = trust.measured(
    store.load_json(files.quality),
    store.load_json(files.controls),
    in_root_cluster=selection.in_cluster(obs, params.clusters, params.root),
    detected_roots=store.load_arrays(files.time).get("detected_root_cells"),
    transitions=transitions,
)
store.save_json(snakemake.output[0], {**trust.judge(values, unspliced=params.unspliced), "transitions": transitions})
