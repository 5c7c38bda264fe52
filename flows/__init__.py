"""What runs: order and fan-out, nothing else."""
