"""The branches of all methods. A branch is a small module that a method adds to a layer or block of the backbone.

Each method has one file with a subclass of `krona.methods.branch.Branch`, which depends on torch but not on
transformers.
"""
