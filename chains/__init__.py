"""Strata: snapshot chains seen, and merged safely."""

VERSION = "0.1.0"
