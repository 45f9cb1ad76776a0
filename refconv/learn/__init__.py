"""To explain and to teach: the arithmetic of sizes, counts, receptive fields and solvers, and what
shows them. Nothing here imports torch unless it is given a model.

A reader starts with ``arithmetic`` (one op's sizes with the numbers put in), then ``count``
(parameters and multiplies), ``receptive`` (what an output sees) and ``solve`` (the unknowns).
"""
