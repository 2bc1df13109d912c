from veloshard import runtime
from veloshard.evaluation.verdict import require_verdict
from veloshard.io.text_files import load_json

runtime.start(snakemake)
verdicts = {path: load_json(path) for path in snakemake.input.verdicts}
require_verdict(verdicts, snakemake.params.least, key="trust.fail_below")
