"""HTML tables of results, comparisons and runs."""
