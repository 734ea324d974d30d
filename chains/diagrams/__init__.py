"""Diagrams: from plain records to DOT, and from DOT to SVG that can stand in a page.

``chain_dot`` draws one chain, ``forest_dot`` the trees of a domain, ``reads_dot`` the redirected
reads of a disk; ``render`` turns their DOT into SVG, which ``static/css/diagrams.css`` colours.
"""
