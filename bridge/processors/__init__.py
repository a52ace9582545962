"""Processors: the nodes of a chain."""
