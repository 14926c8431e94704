"""The architectures that a search chooses from, and the scores that predictors give them."""
