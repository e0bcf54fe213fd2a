"""Replay of persisted runs, proof that nobody altered them, and the explanation of every trade."""
