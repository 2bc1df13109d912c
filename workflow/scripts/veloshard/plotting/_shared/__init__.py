"""Shared parts of the figures: style, embedding panels and phase portraits."""
