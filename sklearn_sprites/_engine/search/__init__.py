"""Layers found by search: poses, correlation, refinement, order, moves."""
