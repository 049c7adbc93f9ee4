"""Whatever comes in: parsers and the API answer with what they declare. Bounded, so that every run includes it."""
