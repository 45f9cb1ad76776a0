"""To explain and to teach: the arithmetic of sizes, counts, receptive fields and solvers, and what
shows them. Nothing here imports torch unless it is given a model.

A reader starts with ``arithmetic`` (one op's sizes with the numbers put in), then ``count``
(parameters and multiplies), ``receptive`` (what an output sees), ``solve`` (the unknown numbers of
a layer), ``reaching`` and ``chain`` (backwards and forwards through several). ``layers`` says what
may be handed to them. ``explain`` puts them together, ``trace`` opens one output number, ``page``
is all of it to look at, and ``questions`` are those that people ask.
"""
