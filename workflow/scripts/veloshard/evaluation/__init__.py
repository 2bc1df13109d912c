"""Evaluation of results: agreement of methods, negative controls, posterior draws, split-half coherence, verdict."""
