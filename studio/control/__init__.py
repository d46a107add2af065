"""Preprocessors behind one protocol: a photo or drawing in, the map that a control follows out."""
