"""Reports: what records of any kind say, as one page, for a pull request, and for a CI.

Reading order: ``reading`` (files → records, whatever state they are in), ``rows`` (every kind as
one row), ``summary`` (rows counted and kept, in bounded memory), ``findings`` (what to say first),
then ``charts`` and ``page``, ``markdown``, ``junit``, ``sarif``, ``trend``.
"""
