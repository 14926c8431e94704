"""Reports of searches and studies: pictures and JSON files in a folder."""
