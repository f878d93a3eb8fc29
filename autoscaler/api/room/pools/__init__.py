"""The first page: every pool at a glance. `page` has the routes, `glance` makes one row, `glances` keeps them."""
