"""The venue over HTTP."""
