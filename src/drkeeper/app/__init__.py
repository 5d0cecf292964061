"""The composition root and the ways in."""
