"""`python FOLDER`, with this folder: starts `octavo_worker` from here.

Python puts a folder that it runs first among those that it imports from. With `-m` and `-c`, before 3.11, that is the
current folder, and a numpy.py or a runpy.py there would be executed.
"""

from octavo_worker.__main__ import run

if __name__ == "__main__":
    run()
