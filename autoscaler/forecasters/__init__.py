"""Looks ahead: one class per file, each a `Forecaster`; what they share has a file of its own beside them."""
