"""The demo: a small estate, receivers that stand in for the services at the far end, and a script that breaks things."""
