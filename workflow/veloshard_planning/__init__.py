"""What the rules decide before the first job: the checked config, the traits of methods, hashes and disk space.

The rules import this package, scripts and library do not. Snakemake puts the folder `workflow` on Python's path.
"""
