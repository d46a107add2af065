"""Reversible changes to a model: LoRAs, embeddings, hypernetworks, image prompts, grounding boxes."""
