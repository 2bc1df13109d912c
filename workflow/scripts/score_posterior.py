from veloshard import runtime
from veloshard.evaluation.posterior import score_posterior
from veloshard.io.fits import load_fit_genes
from veloshard.io.hdf5 import load_arrays, save_arrays
from veloshard.io.model_io import open_posterior_samples
from veloshard.io.prepared import load_prepared
from veloshard.preprocessing.moments import load_moments

runtime.start(snakemake)
files = snakemake.input
genes = load_fit_genes(files.fit)
(embedding,) = load_arrays(files.embedding).values()
with open_posterior_samples(files.samples, genes["name"][genes["velocity_genes"]]) as (read_draw, n_draws):
    scores = score_posterior(
        read_draw,
        n_draws,
        load_moments(files.prepared, genes["velocity_genes"]),
        load_prepared(files.prepared).distances,
        embedding[:, :2],
        sqrt_transform=snakemake.params.sqrt_transform,
        scale_genes=snakemake.params.scale_genes,
    )
save_arrays(snakemake.output.scores, {f"velocity_{name}": values for name, values in scores._asdict().items()})
