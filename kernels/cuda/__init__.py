"""CUDA C++ kernels, as files to read: a numbered ladder, one idea a step.

A ``.cu`` file is compiled for one set of types and constants, given as macros: ``ELEMENT`` and
``OFFSET`` (types.cuh), and its own tile sizes, which it names in its head. It holds one or more
``extern "C" __global__`` kernels and includes only the headers of this folder: no host header,
none of CUDA's, so that NVRTC needs no other file.

A kernel gets addresses of arrays, C ints, and structs by value (``ConvGeometry`` or its own last;
a ``TensorMap`` of hopper.cuh is made by the executor). An array
that the call does not have (a bias) is null. Nothing is checked: the plan function that launches it
(``refconv/backends/_cuda_*.py``) chose grid, block and shared memory, and ``supports`` refused what
it cannot do. A kernel writes every element of its outputs, which arrive poisoned, and changes no
input. Strides are the arrays' own: no copy was made for its sake. If a kernel needs another layout,
its plan launches the kernel that makes it, into a workspace, so that the copy is seen and timed.
The arithmetic is THE KERNEL CONTRACT's (``kernels/__init__.py``).

The same files are compiled for the CPU by the emulator (``emulator/``), which sets four rules:

- What is written in another way for a GPU, PTX first of all, stands in ``device.cuh``,
  ``ptx.cuh``, ``hopper.cuh`` or ``wgmma.cuh`` in two bodies.
- Dynamic shared memory is ``DYN_SHARED(type, name)``.
- Static shared memory is declared in the kernel itself; helpers are given pointers to it (else the
  compiler speaks of a section type conflict).
- A barrier is reached by every thread of the block, or every lane of its mask, at the same line.

To add a step: the file here; its plan function in ``refconv/backends/_cuda_conv.py`` or a
neighbour; a line in the table of ``_cuda_slots.py`` (what it cannot run: ``_cuda_supports.py``);
for a convolution, a line in ``_cuda_cost.py``, by which it is chosen; a line in
``tests/cuda/budgets.py``. The tests find it there.
"""
