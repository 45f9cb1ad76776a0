"""Others' problem tables → cases: benchdnn batch files, MIOpenDriver command files, torch profiler
traces and ONNX models.

A file is known by what is in it. Each importer reads a file into ``Entry``s, one a line, call or
node: a problem, or the reason why it is none. The same problem is one case, with its count. What
cannot be expressed is kept, to be told: nothing is dropped in silence.
"""

from .reading import Entry, Imported, Refused, load

__all__ = ["Entry", "Imported", "Refused", "load"]
