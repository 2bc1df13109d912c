"""Tables of a result and of a comparison of methods, with the verdict and the most important genes."""

import pandas as pd

from veloshard.evaluation.comparison import TRUTH
from veloshard.io.text_files import load_json

# a page stays below a few hundred kB; the csv files hold all rows
MAX_ROWS = 300

# goodness of fit, the preferred column first
SCORE_COLUMNS = ("fit_likelihood", "velocity_r2")

# shown columns of the genes
GENE_COLUMNS = (
    "gene", *SCORE_COLUMNS, "velocity_gamma", "velocity_qreg_ratio", "fit_alpha", "fit_beta",
    "fit_gamma", "fit_t_", "fit_scaling", "fit_curve_weight", "fit_r2", "fit_alpha_error", "fit_beta_error",
    "fit_gamma_error", "fit_t__error",
)  # fmt: skip

COMPARISON_EXPLANATION = (
    "Methods that agree can still all be wrong. Where two methods disagree, at most one is right. Look first at the "
    "verdicts, then at the directions of known transitions. Click on the name of a column to sort by it."
)


def result_tables(*, genes, roots=(), ranking=(), kinetics=(), trust=()):
    """Return the explanation and the tables of a result, for `html_tables.html_page`.

    Files that a result does not have are empty sequences.

    Parameters
    ----------
    genes : path-like
        File `genes.csv`.
    roots : path-like, optional
        File `root_sensitivity.csv`.
    ranking : path-like, optional
        File `ranking.csv`.
    kinetics : path-like, optional
        File `differential_kinetics.csv`.
    trust : path-like, optional
        File `trust.json`.

    Returns
    -------
    explanation : str
        The verdict and how to read the tables.
    tables : dict of str to DataFrame
        Tables by caption, which says how many rows of a file are shown.
    """
    explanation, tables = "", {}
    if trust:
        verdict = load_json(trust)
        explanation = f"{verdict['verdict'].capitalize()}: {verdict['words']} "
        tables["Checks of the result"] = pd.DataFrame(verdict["checks"])
        if verdict["transitions"]:
            caption = "Expected transitions: mean cosine of the velocities with the direction to the next cluster"
            tables[caption] = pd.DataFrame(verdict["transitions"])
    if roots:
        caption = "Roots: rank correlation of the pseudotime from another root with that from the chosen root"
        tables[caption] = pd.read_csv(
            roots, dtype={"root": str}, keep_default_na=False, na_values={"spearman": ["nan"]}
        )
    if ranking:
        tables |= ranking_table(_read(ranking))
    tables |= genes_table(_read(genes))
    if kinetics:
        tables |= kinetics_table(_read(kinetics))
    explanation += "Click on the name of a column to sort by it. Numbers are rounded; the csv files hold all digits."
    return explanation, tables


def comparison_tables(*, methods, pairs, costs):
    """Return the tables of a comparison of methods, for `html_tables.html_page`.

    Parameters
    ----------
    methods, pairs : path-like
        Files `methods.csv` and `comparison.csv`.
    costs : DataFrame
        Table of `provenance.costs_of_methods`.

    Returns
    -------
    dict of str to DataFrame
        Tables by caption. Columns without any value are left out.
    """
    pairs = _read(pairs)
    with_truth = pairs["other"] == TRUTH
    tables = {
        "Methods: result, time and memory of each": _read(methods).merge(costs, on="method", how="left"),
        "Pairs of methods: medians over the cells or genes of both, rank correlations of times": (
            pairs[~with_truth].dropna(axis=1, how="all")
        ),
    }
    if with_truth.any():
        tables["Against the truth: the same for each method, in its own velocity genes"] = (
            pairs[with_truth].drop(columns="other").dropna(axis=1, how="all")
        )
    return tables


def genes_table(genes):
    """Return a table of the velocity genes and their fits, by its caption.

    The best-fitted genes come first. Without a goodness of fit, genes stay in the order of the file.

    Parameters
    ----------
    genes : DataFrame
        Content of `genes.csv`.

    Returns
    -------
    dict of str to DataFrame
        The table by its caption.
    """
    fits = genes.loc[genes["velocity_genes"], [column for column in GENE_COLUMNS if column in genes]]
    score = next((column for column in SCORE_COLUMNS if column in genes), None)
    if score:
        fits = fits.sort_values(score, ascending=False)
    choice = "best" if score else "first"
    return _first_rows(
        fits, f"Velocity genes and their fit: {choice} {{}} of {len(fits)}, of {len(genes)} genes in genes.csv"
    )


def ranking_table(ranking):
    """Return a table of the genes with the highest rank in each cluster, by its caption."""
    n_genes = MAX_ROWS // max(ranking["cluster"].nunique(), 1)
    first = ranking.sort_values(["rank", "cluster"]).groupby("cluster").head(n_genes)
    return {f"Genes by cluster: first {n_genes} of each, {len(first)} of {len(ranking)} rows in ranking.csv": first}


def kinetics_table(kinetics):
    """Return a table of genes and clusters with differential kinetics, the most significant first, by its caption."""
    by_significance = kinetics.sort_values(["q_value", "p_value"])
    return _first_rows(
        by_significance, f"Differential kinetics: most significant {{}} of {len(kinetics)} in differential_kinetics.csv"
    )


def _first_rows(table, caption):
    shown = table.head(MAX_ROWS)
    return {caption.format(len(shown)): shown}


def _read(path):
    # a gene can have the name NA or nan, and a method the name 007
    text_columns = dict.fromkeys(("gene", "cluster", "method", "other"), str)
    return pd.read_csv(path, dtype=text_columns, keep_default_na=False, na_values=[""])
