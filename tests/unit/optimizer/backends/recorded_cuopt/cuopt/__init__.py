"""A stand-in for NVIDIA cuOpt 26.10 with the interface recorded in ../interface.json; CPU only, for tests."""
