"""The only package with SQL, except for six modules of bookkeeping."""
