"""The only package that knows SQL, but for what bookkeeping still has of its own."""
