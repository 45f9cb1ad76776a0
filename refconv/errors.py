"""The errors: one small hierarchy, so that a caller can catch refconv's refusals as a family or one
by one.

Each class is also the built-in that torch raises in the same situation (and ``RuntimeError``, which
torch raises in most), so code written against torch's exceptions keeps working.
"""


class RefconvError(Exception):
    """Root of everything that refconv raises on purpose; the message names op, rule, numbers,
    shapes and fix.
    """


class ShapeError(RefconvError, ValueError, RuntimeError):
    """A size, number or combination of them breaks a rule of the operation."""


class ArgumentError(RefconvError, TypeError, RuntimeError):
    """An argument has the wrong type, or arrays of different libraries, devices or dtypes are
    mixed.
    """


class DtypeError(RefconvError, TypeError, NotImplementedError):
    """The operation is not defined for this dtype (torch's CPU refuses it too)."""


class IndexRangeError(RefconvError, IndexError, RuntimeError):
    """An index points outside the array it indexes (unpooling)."""


class UnsupportedError(RefconvError, NotImplementedError):
    """The chosen backend or algorithm cannot run this problem; the message says why."""


class UnavailableError(RefconvError, RuntimeError):
    """The chosen backend cannot be used on this machine (a library or a device is missing)."""


class OutOfMemoryError(RefconvError, MemoryError, RuntimeError):
    """What a kernel needs beside its arrays is not free on its device; the message says how much is
    needed and how much there is.
    """


class UsageError(RefconvError, ValueError):
    """A command line, a case or a file cannot be understood."""
