"""A search from its arguments to its result.

`config` checks the arguments, `prepare` chooses predictors and scores candidates, `search` runs the
trials, `worker` joins a study that another process began, `kept_result` answers for a study that
has ended. The room knows all that a search needs, and no command line.
"""
