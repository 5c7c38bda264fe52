"""One door to the past: fetch what is missing, store it, read it back."""
