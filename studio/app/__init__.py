"""The running studio: queue, workers, engine."""
