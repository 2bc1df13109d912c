"""Measure time and memory to read counts.

    .venv/bin/python benchmarks/ingest.py

The script simulates 100,000 cells x 30,000 genes, with spliced counts in 5 % and unspliced counts in 1 % of the
entries, writes them in each format, and reads each file in its own process. It prints the size of the counts in memory,
and the peak memory of the process.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np

ROOT = Path(__file__).parents[1]
JOB = """
import resource, sys, time
sys.path.insert(0, sys.argv[1])
from veloshard.preprocessing.ingest import ingest_counts
start = time.perf_counter()
counts = ingest_counts(sys.argv[2], dataset="d", sha256="known")
seconds = time.perf_counter() - start
size = sum(part.nbytes for values in counts.layers.values() for part in (values.data, values.indices, values.indptr))
print(size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, seconds)
"""


def blocks(n_cells, n_genes, density, seed, step=2000):
    """Generate random counts in blocks of cells: number of entries of each cell, genes of the entries, and values."""
    rng = np.random.default_rng(seed)
    for first in range(0, n_cells, step):
        cells = min(step, n_cells - first)
        is_entry = rng.random((cells, n_genes), dtype=np.float32) < density
        genes = is_entry.nonzero()[1].astype(np.int32)
        yield is_entry.sum(axis=1), genes, rng.geometric(0.5, len(genes)).astype(np.uint16)


def write_h5ad(path, n_cells, n_genes, densities):
    """Write counts as AnnData does, with values in single precision and 64-bit indices, the largest form."""
    with h5py.File(path, "w") as file:
        for table, n in (("obs", n_cells), ("var", n_genes)):
            group = file.create_group(table)
            group.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.2.0", "_index": "_index"})
            group.attrs["column-order"] = np.array([], dtype=object).astype(h5py.string_dtype())
            names = group.create_dataset("_index", data=np.array([f"{table}{k}" for k in range(n)], object))
            names.attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})
        for seed, (layer, density) in enumerate(densities.items()):
            group = file.create_group(f"layers/{layer}")
            group.attrs.update(
                {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": (n_cells, n_genes)}
            )
            data = group.create_dataset("data", (0,), "f4", maxshape=(None,), chunks=(1 << 16,))
            indices = group.create_dataset("indices", (0,), "i8", maxshape=(None,), chunks=(1 << 16,))
            sizes = []
            for counts, genes, values in blocks(n_cells, n_genes, density, seed):
                start = data.shape[0]
                for dataset, block in ((data, values), (indices, genes)):
                    dataset.resize((start + len(block),))
                    dataset[start:] = block
                sizes.append(counts)
            group["indptr"] = np.append(0, np.cumsum(np.concatenate(sizes)))


def write_starsolo(path, n_cells, n_genes, densities):
    """Write counts as STARsolo does, ordered by cell."""
    path.mkdir()
    (path / "barcodes.tsv").write_text("".join(f"cell{k}\n" for k in range(n_cells)))
    (path / "features.tsv").write_text("".join(f"gene{k}\tgene{k}\n" for k in range(n_genes)))
    for seed, (layer, density) in enumerate(densities.items()):
        total = sum(len(genes) for _, genes, _ in blocks(n_cells, n_genes, density, seed))
        with (path / f"{layer}.mtx").open("w") as file:
            file.write(f"%%MatrixMarket matrix coordinate integer general\n%\n{n_genes} {n_cells} {total}\n")
            first = 1
            for counts, genes, values in blocks(n_cells, n_genes, density, seed):
                cells = np.repeat(np.arange(first, first + len(counts)), counts)
                np.savetxt(file, np.column_stack([genes + 1, cells, values]), fmt="%d")
                first += len(counts)


WRITERS = {"h5ad": write_h5ad, "starsolo": write_starsolo}


def main():
    """Write and read counts in each format, and print the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--genes", type=int, default=30_000)
    parser.add_argument("--formats", nargs="+", choices=WRITERS, default=list(WRITERS))
    options = parser.parse_args()
    densities = {"spliced": 0.05, "unspliced": 0.01}
    for file_format in options.formats:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / ("counts.h5ad" if file_format == "h5ad" else "starsolo")
            WRITERS[file_format](path, options.cells, options.genes, densities)
            command = [sys.executable, "-c", JOB, ROOT / "workflow/scripts", path]
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        size, peak, seconds = map(float, output.split())
        print(
            f"{file_format}: {size / 1e6:.0f} MB of counts in {seconds:.0f} s, peak memory {peak / 1e6:.0f} MB, "
            f"{peak / size:.2f} times the size"
        )


if __name__ == "__main__":
    main()
