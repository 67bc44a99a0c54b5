"""Thin faces: parse, call the api, render."""
