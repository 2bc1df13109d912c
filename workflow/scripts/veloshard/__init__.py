"""RNA velocity from spliced and unspliced counts: the library behind the workflow's scripts.

The packages follow the order of the pipeline. A package imports only from packages above it in this list, and from the
modules at the top level.

io
    Readers of count files, and the files that rules hand to each other.
preprocessing
    Ingest, selection of cells and genes, normalization, neighbors, moments and quality control.
kinetics
    Velocity methods: steady-state, stochastic and dynamical fits, differential kinetics, precomputed velocities.
graph
    Velocity graph, transition matrix, velocity embedding and confidence.
analysis
    Terminal states, pseudotime, latent time, PAGA and ranked genes.
evaluation
    Reliability checks of a result, negative controls and comparison of methods.
vectorfield
    Vector fields by SparseVFC and the analyses of them.
output
    The result as AnnData, and the export to dynamo.
plotting
    Figures.
report
    HTML tables and provenance.
numba_support
    Cache of compiled code, and functions for compiled loops.
"""

from veloshard.numba_support import cache

__version__ = "0.1.0"


cache.set_cache_dir()
