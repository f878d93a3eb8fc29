"""`sigmascale agent`: what a GPU node says about itself, as pages to scrape and as pushes to the service."""
