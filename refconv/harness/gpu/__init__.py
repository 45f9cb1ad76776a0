"""``refconv gpu``: what a machine with a GPU says of the kernels, in one run of a few minutes.

``run`` goes through the steps in order of importance and stops in time: what the machine is
(``machine``), the kernels compiled side by side (``compiling``), every step of the ladders judged
on small odd problems (``verify``), compute-sanitizer (``sanitizer``), what the GPU could do
(``ceilings``), and times beside torch (``rows``, ``racing``). Everything that touches the GPU
happens in processes of its own (``worker``, ``workers``), since a kernel that fails can take its
process along. What is found is written down at once (``journal``), and told last (``table``).

Needs none of the packages that records, reports and audits need. On the CPU the same steps run as
a rehearsal: on the emulator, with a clock that does not measure.
"""
