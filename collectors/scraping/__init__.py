"""Which pages there are, and asking for them: targets, discovery, connections, the scraper."""
