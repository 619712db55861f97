"""The readable definition of every op, in plain torch: one file per family. The oracle of every other backend."""
