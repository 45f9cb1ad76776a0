"""Is a function right? Cases made from what real faults needed to show, each run, judged by the
oracle, and on failure diagnosed, shrunk and written out.

Reading order: ``case`` (one call), ``directed`` and ``drawn`` (which calls), ``trial`` (run one and
judge it), ``diagnose`` and ``replays`` (what went wrong), ``shrink`` and ``script`` (the smallest
failing call), ``report``, ``engine`` (many cases, on many workers).
"""
