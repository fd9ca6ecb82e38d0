"""Configuration: Hydra's config in, checked and typed settings out.

``import krona.config`` registers the resolvers of conf/, so that ``hydra.compose`` works on it.
"""

from krona.config import resolvers as resolvers
