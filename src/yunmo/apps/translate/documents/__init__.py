"""The formats of documents: what is to be translated is taken out, and put back in its place."""
