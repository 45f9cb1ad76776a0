"""The harness: what is run (cases), on what (inputs), what came of it (compare, timing, …)."""
