"""Easel: a browser studio for controllable diffusion."""
