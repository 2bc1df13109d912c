"""Figures of one velocity result."""
