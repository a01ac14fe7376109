"""Broker trouble on clusters of their own, which are hurt. `make trouble`; not a part of `make test`."""
