"""HTTP in front of the Studio protocol: the guard, Easel's own routes, and AUTOMATIC1111's. No torch."""
