"""Toytown's scripts are plain modules in their own folder; the tests import them from there."""

from __future__ import annotations

import sys
from pathlib import Path

TOYTOWN = Path(__file__).parents[2] / "assets" / "toytown"
sys.path.insert(0, str(TOYTOWN))
