"""Strategies: from candles to target exposure, one file each."""
