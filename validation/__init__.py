"""Is it true? Data, strategies and the gates between stages."""
