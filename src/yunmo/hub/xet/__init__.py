"""The Xet content-addressed store: formats, uploads and reading (Xet protocol specification; IETF draft-denis-xet)."""
