"""The REST API: what a pool does and why, and the few things that a person may change while it runs."""
