"""Room for the live engine, which trades what graduated; empty today."""
