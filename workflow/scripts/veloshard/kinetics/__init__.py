"""Splicing kinetics: methods that estimate velocities, precomputed velocities, and tests on fitted kinetics."""
