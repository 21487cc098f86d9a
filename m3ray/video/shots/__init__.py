"""Shots: the parts of a video from one cut to the next, found, laid out, taken apart and written as files."""
