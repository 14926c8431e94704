"""Reports: the pictures and pages that a search or a study writes into a folder.

The room knows plots and candidates, and is handed the data of a result.
"""
