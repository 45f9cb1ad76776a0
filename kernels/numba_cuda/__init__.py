"""CUDA kernels in Python: the first steps of the ladder in ``cuda``, to be read beside it.

``conv_1_direct.py`` is ``conv_1_direct.cu`` line for line, and so is every file here: the same
names, the same threads, the same loops. What a ``.cu`` file gets as macros (``ELEMENT``,
``THREADS``, tile sizes) is here the arguments of the function that makes the kernel; its types and
constants are then fixed when Numba compiles it, at the first launch for a dtype and layout.

What Python takes away
    Arrays bring their shapes and strides: no geometry struct, ``y[n, oc, od, oh, ow]`` instead of
    pointers. Any layout is taken as it is.
    Integers are 64 bits wide, so divisions of positions cost several times C++'s. Every index is
    compared with 0, as a negative one would count from the end. There is no ``#pragma unroll 1``:
    ``conv_fprop_direct`` is unrolled to 128 registers for float32, three times C++'s, so fewer
    warps fit. Expect these to be slower than the ``.cu`` files of the same name.
    Measured: not yet on a GPU.

An array that the call does not have (a bias) has size 0. Nothing is checked: the plan
(``refconv/backends/_numba_cuda_plans.py``) chose grid, block and shared memory.

Rules: no warp intrinsics (Numba's simulator has none), no signatures when a module is imported, and
a barrier is reached by every thread of the block: the simulator does not notice where one is not.
"""
