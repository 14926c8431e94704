"""Whole networks: families of published networks, and the spaces that have been measured.

`family` is what a family consists of, `network_space` makes a space of it, `union` joins spaces,
`builder` writes the graph of operators. The room knows the ground of search_spaces and `nb201`.
"""
