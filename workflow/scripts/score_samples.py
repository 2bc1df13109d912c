from veloshard import exchange, runtime, store, uncertainty

runtime.start(snakemake)
files = snakemake.input
genes = store.load_fit_genes(files.fit)
(embedding,) = store.load_arrays(files.embedding).values()
with exchange.open_samples(files.samples, genes["name"][genes["velocity_genes"]]) as (sample, n_samples):
    scores = uncertainty.score_samples(
        sample,
        n_samples,
        store.load_moments(files.prepared, genes["velocity_genes"]),
        store.load_prepared(files.prepared).distances,
        embedding[:, :2],
        sqrt_transform=snakemake.params.sqrt_transform,
        scale_genes=snakemake.params.scale_genes,
    )
store.save_arrays(snakemake.output[0], {f"velocity_{name}": values for name, values in scores._asdict().items()})
