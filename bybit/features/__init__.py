"""Indicators, pure functions over arrays."""
