"""A local exchange that speaks v5."""
