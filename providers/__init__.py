"""Where replicas come from: one module per cloud or machine, each a `Provider`."""
