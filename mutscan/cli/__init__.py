"""The command line: user input into library calls, results to stdout, words to stderr.

A command here converts arguments, calls the library, and prints; the library does not know that a
command line exists. Heavy imports wait until a command needs them.
"""
