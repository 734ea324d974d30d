"""How the pages say things in the reader's language: numbers, names of states, prose of the lower parts."""
