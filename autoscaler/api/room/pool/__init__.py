"""One pool: `page` and its live `parts`, `series` of its charts, `decisions`, and `forms` by which people act."""
