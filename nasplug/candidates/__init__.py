"""The architectures that a search may choose from, with what is predicted of them.

`pool` makes them: all members of a space, or those that evolution finds; `scoring` predicts them,
`constraints` reads limits such as `latency<=5ms`. The room knows spaces and predictors, and no
trial.
"""
