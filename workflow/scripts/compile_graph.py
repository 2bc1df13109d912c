from pathlib import Path

from veloshard import runtime, warm_up

runtime.start(snakemake)
warm_up.compile_graph(sqrt_transform=False)
Path(snakemake.output[0]).touch()
