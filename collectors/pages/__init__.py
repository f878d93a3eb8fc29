"""Exposition pages: from bytes to canonical series, at more than a million lines a second."""
