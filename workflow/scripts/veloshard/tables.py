"""Tables of a result for those who read it: whether to trust it, and the genes that matter."""

import pandas as pd

from veloshard import store
from veloshard.comparison import TRUTH

# a page stays below a few hundred kB, and nobody reads on; the csv files hold the rest
MOST_ROWS = 300
# of all columns of a fit, those that a reader asks for, the quality of the fit first
GENE_COLUMNS = (
    "gene", "fit_likelihood", "velocity_r2", "velocity_gamma", "velocity_qreg_ratio", "fit_alpha", "fit_beta",
    "fit_gamma", "fit_t_", "fit_scaling", "fit_support", "fit_r2", "fit_alpha_error", "fit_beta_error",
    "fit_gamma_error", "fit_t__error",
)  # fmt: skip

COMPARISON = (
    "Methods that agree may be wrong together, but where they disagree at most one of them is right. Look first at the "
    "verdicts, then at the directions that are known. Click on a column's name to sort by it."
)


def result_tables(*, genes, roots=(), ranking=(), kinetics=(), trust=()):
    """Tables of a result by their captions, as `pages.table_page` takes them, and what to say before them.

    genes, roots, ranking, kinetics : paths of `genes.csv`, `roots.csv`, `ranking.csv` and `differential_kinetics.csv`.
    trust : that of `trust.json`.  What a result does not have is empty, and left out.

    Returns the explanation and the tables.  Each says how many rows of the file it shows.
    """
    explanation, tables = "", {}
    if trust:
        judged = store.load_json(trust)
        explanation = f"{judged['verdict'].capitalize()}: {judged['words']} "
        tables["Checks of the result"] = pd.DataFrame(judged["checks"])
        if judged["transitions"]:
            caption = "Expected transitions: mean cosine of the arrows at the border"
            tables[caption] = pd.DataFrame(judged["transitions"])
    if roots:
        tables["Roots: rank correlation of the cells' order from another root with the one chosen"] = pd.read_csv(
            roots, dtype={"root": str}, keep_default_na=False, na_values={"spearman": ["nan"]}
        )
    if ranking:
        tables |= ranking_table(_read(ranking))
    tables |= genes_table(_read(genes))
    if kinetics:
        tables |= kinetics_table(_read(kinetics))
    return f"{explanation}Click on a column's name to sort by it; numbers are rounded, the csv files have all.", tables


def comparison_tables(*, methods, pairs, costs):
    """Tables of a comparison by their captions, as `pages.table_page` takes them.

    methods, pairs : paths of `methods.csv` and `comparison.csv`.   costs : of `provenance.costs_of_methods`.
    """
    found = _read(pairs)
    true = found["other"] == TRUTH
    tables = {"Methods: what each found, and what it took": _read(methods).merge(costs, on="method", how="left")}
    tables["Pairs of methods: medians over cells or genes that both have, rank correlations of their times"] = found[
        ~true
    ].dropna(axis=1, how="all")
    if true.any():
        tables["Against the truth: the same, of each method in its own velocity genes"] = (
            found[true].drop(columns="other").dropna(axis=1, how="all")
        )
    return tables


def genes_table(genes):
    """The velocity genes with the parameters of their fit, the best fitted first."""
    columns = [column for column in GENE_COLUMNS if column in genes]
    fitted = genes.loc[genes["velocity_genes"], columns].sort_values(columns[1], ascending=False)
    return _first(
        fitted, f"Velocity genes and their fit: best {{}} of {len(fitted)}, of {len(genes)} genes in genes.csv"
    )


def ranking_table(ranking):
    """The first genes of every cluster."""
    each = MOST_ROWS // max(ranking["cluster"].nunique(), 1)
    first = ranking.sort_values(["rank", "cluster"]).groupby("cluster").head(each)
    return {f"Genes by cluster: first {each} of each, {len(first)} of {len(ranking)} rows in ranking.csv": first}


def kinetics_table(kinetics):
    """The genes and clusters that follow kinetics of their own, the clearest first."""
    clearest = kinetics.sort_values(["q_value", "p_value"])
    return _first(clearest, f"Differential kinetics: clearest {{}} of {len(kinetics)} in differential_kinetics.csv")


def _first(table, caption):
    shown = table.head(MOST_ROWS)
    return {caption.format(len(shown)): shown}


def _read(path):
    # a gene may be called NA or nan, and a method 007
    names = dict.fromkeys(("gene", "cluster", "method", "other"), str)
    return pd.read_csv(path, dtype=names, keep_default_na=False, na_values=[""])
