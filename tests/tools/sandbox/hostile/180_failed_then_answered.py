"""Gives an answer in its variable, and fails afterwards: an error must not look like success.

Class: results
Must: contained
Status: error
"""

result = "answered"
raise ValueError("failed afterwards")
