"""Small apps that do the same work as trigflow or a part of it, each as its own docs show.

Each verifies GitHub's signature, decodes the body, does the same trivial job (number and
title of an issue), and counts finished work where it keeps its results.
"""
