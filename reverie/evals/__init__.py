"""Measuring Reverie: benchmarks of its parts and of what its strategies are worth."""
