from pathlib import Path

from veloshard import compilation, runtime

runtime.start(snakemake)
compilation.compile_fit(**snakemake.params.options)
Path(snakemake.output.marker).touch()
