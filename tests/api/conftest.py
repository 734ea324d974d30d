"""The API is tested on the same domain and people as the pages."""

from tests.web.conftest import browser, domain, hostile_images, people

__all__ = ["browser", "domain", "hostile_images", "people"]
