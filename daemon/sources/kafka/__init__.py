"""Kafka as a source: what stands in its topics becomes alerts, and their positions move with the state they led to."""
