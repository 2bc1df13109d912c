from veloshard import runtime
from veloshard.graph.velocity_graph import self_transitions
from veloshard.io.graphs import merge_graph_shards
from veloshard.io.hdf5 import save_arrays

runtime.start(snakemake)
graph = merge_graph_shards(snakemake.input.shards)
save_arrays(snakemake.output.graph, {"graph": graph, "self_transition": self_transitions(graph)})
