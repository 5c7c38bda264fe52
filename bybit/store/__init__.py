"""SQL in and out: the only place that knows a database."""
