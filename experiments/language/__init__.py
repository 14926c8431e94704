"""Language models: the table that the package ships, and predictors of their quantities."""
