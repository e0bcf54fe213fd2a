"""Mappings of brokers' layouts, each with the public sample that it rests on."""
