"""Model files: what exists, what a file is, how it becomes a module, and who holds it in memory."""
