"""The rule language: what people write becomes a `RuleSet`, or a list of everything that is wrong with it.

On the way in, `reader.py` reads the text, `dialects.py` rewrites the two short forms, `model.py` (with `conditions.py`,
`signals.py`, `offers.py`, `actions.py`) checks each section, `agreement.py` what must agree between them, `lint.py`
warns and `build.py` makes the values. `watch.py` follows files while the service runs; `cases.py` and `trial.py` are
the unit tests of rules; `docs.py` writes the reference page and the editors' schema.
"""
