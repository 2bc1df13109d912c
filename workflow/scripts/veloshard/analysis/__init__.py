"""Analyses of a velocity graph: terminal states, pseudotime, latent time, PAGA, ranked genes."""
