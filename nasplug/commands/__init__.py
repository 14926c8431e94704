"""The commands of the command line, and what they print.

Each one reads words, calls one public function and prints what it returns: data on stdout, the rest
on stderr. `app` is the list of commands. The room knows nasplug's public names.
"""
