"""Reverie's dream core: gradient ascent on what a network hears in a sound. Torch only."""
