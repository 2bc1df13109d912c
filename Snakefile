"""RNA velocity from spliced and unspliced counts: see README.md for what it gives, config/README.md for options."""

from snakemake.utils import min_version

min_version("9.0")

# only where no other config was given: Snakemake merges a --configfile into this one key by key, and the demo's
# dataset would come along
if not {"datasets", "samples"} & config.keys():

    configfile: "config/config.yaml"


include: "workflow/rules/common.smk"


# for the rules that follow, under `--sdm apptainer`; under `--sdm conda` each has an environment
container: config["container"]


include: "workflow/rules/environments.smk"
include: "workflow/rules/options.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/ingest.smk"
include: "workflow/rules/prepare.smk"
include: "workflow/rules/compile.smk"
include: "workflow/rules/fit.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/external.smk"
include: "workflow/rules/graph.smk"
include: "workflow/rules/analysis.smk"
include: "workflow/rules/vector_fields.smk"
include: "workflow/rules/trust.smk"
include: "workflow/rules/fates.smk"
include: "workflow/rules/compare.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"


onstart:
    tell_disk()


rule all:
    default_target: True
    input:
        wanted_results(),
        ["results/verdicts_accepted.txt"] if "fail_below" in config["trust"] else [],
