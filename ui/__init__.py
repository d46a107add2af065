"""The page. It knows the vocabulary of `studio.core` and nothing of the engine."""
