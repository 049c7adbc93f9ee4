"""The demo: a small estate, receivers in place of the services at the far end, a script that breaks things."""
