"""Speed as ratios within one run: a machine's speed, and what else it does, are in both halves of each.

``python -m tests.bench history`` prints one line a ratio.
"""
