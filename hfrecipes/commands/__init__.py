"""The commands of the command line: each reads words, calls what does the work, and prints."""
