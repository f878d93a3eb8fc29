"""Back-tests: a recorded workload, a pool of fluid and the ordinary loop in between."""
