"""The catalogues of the languages: found in the sources, kept in locale/, compiled for the program.

`python -m project.translations` brings them up to date; the program itself reads only what is compiled.
"""
