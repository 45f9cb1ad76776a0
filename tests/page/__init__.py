"""The page of ``refconv learn``: its files, its arithmetic against Python, and how it behaves."""
