"""Ingest of counts, selection of cells and genes, normalization, neighbors, moments and quality control."""
