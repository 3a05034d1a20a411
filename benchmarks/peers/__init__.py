"""One file per peer, named after its package.

`SIDES` maps a name to a function `(work, x, y, start) -> Runner`, whose docstring begins with the
label of the side and, after a colon, what its time includes. `prepare(threads)` sets up the
process, and `forget()` drops what was compiled, where there is that. `VERSION` is the package's.
`DIFFERS` holds, by work, fields that the peer cannot do otherwise.
"""
