"""The harness: runs cases on every backend and device, has the oracle judge them, and times what has passed."""
