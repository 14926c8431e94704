"""A search from its arguments to its result.

`config` checks the arguments, `prepare` loads predictors and scores candidates, `search` runs the
trials, `worker` joins a study that another process began. The room knows all that a search needs,
and no command line.
"""
