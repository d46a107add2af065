"""The vocabulary of Easel: what a request, an event, an error and a model *is*. No torch, no I/O."""
