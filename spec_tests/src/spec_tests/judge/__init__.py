"""What runs the suite and says what came out: the plugin, clauses, failures, the result file."""
