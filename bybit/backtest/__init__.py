"""The simulation: pure, no I/O, no clock."""
