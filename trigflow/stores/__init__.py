"""Stores: where all is kept. One contract test holds them all."""
