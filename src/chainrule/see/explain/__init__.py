"""The derivation of a gradient with its numbers: what is explained, as data, and how it is written.

`names`, `elements` and `digits` are one number and what it is made of; `lines`, `rules`, `steps`,
`updates` and `follow` choose and order what is told; `text`, `markdown`, `latex` and `html` write.
"""

__all__: list[str] = []
