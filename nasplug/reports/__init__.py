"""Pictures of searches and studies."""
