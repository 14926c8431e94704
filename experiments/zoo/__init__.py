"""The trainings that make the weights of the package."""
