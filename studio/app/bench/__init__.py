"""Figures: ours against diffusers' own pipelines, with the same weights and seed, in one run."""
