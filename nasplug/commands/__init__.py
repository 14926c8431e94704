"""Commands of the command line: words in, one public call, and its result printed."""
