"""The Optuna sampler: what trials teach, and which architecture is next.

`sampler` is what Optuna calls; a choice by predictions alone and one that learns from the values of
trials stand behind it. The room knows candidates and the trials of a study, and not how these are
evaluated.
"""
