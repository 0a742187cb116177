"""Machine translation: texts, documents and live speech, by any model that is hosted."""
