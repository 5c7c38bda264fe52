"""Measures every figure of docs/fidelity.md and writes the page: ``make fidelity``.

Each part is a command or a function that anybody can run again; nothing on the page is typed in by hand.
"""
