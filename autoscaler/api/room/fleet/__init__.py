"""The machines and GPUs of every pool: `page` has the map, `table` says it in words, `events` what happened to GPUs."""
