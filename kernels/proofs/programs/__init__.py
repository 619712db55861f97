"""Programs that the families of `ts/model/families` wrote, as files: what the proofs run, compile and count.

`folder.py` has them written by Node and finds them; `file.py` reads one; `contents.py` gives its parameters contents;
`steps.py` makes the data of a step; `runner.py` runs it on a backend.
"""
