"""Steps: retries, naming and repeatability of one unit of work."""
