from veloshard import runtime
from veloshard.io.hdf5 import save_anndata
from veloshard.io.prepared import dataset_sizes
from veloshard.io.text_files import save_json
from veloshard.preprocessing.ingest import ingest_counts

runtime.start(snakemake)
counts = ingest_counts(
    snakemake.params.source,
    dataset=snakemake.wildcards.dataset,
    sha256=snakemake.params.content,
    key=f"datasets.{snakemake.wildcards.dataset}",
    **snakemake.params.options,
)
save_anndata(snakemake.output.counts, counts)
save_json(snakemake.output.sizes, dataset_sizes(counts))
