"""Folders of a CLIP, Hugging Face's and OpenCLIP's: sizes, weights, tokens, pixels."""
