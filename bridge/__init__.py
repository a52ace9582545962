"""Reverie's bridge: files -> plan -> processors -> files."""
