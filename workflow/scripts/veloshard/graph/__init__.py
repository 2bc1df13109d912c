"""Velocity graph, transition matrix, velocity embedding and confidence."""
