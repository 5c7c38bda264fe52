"""Bybit perpetuals: the venue's rules, its client, its past, its simulation and a local copy of it."""
