"""Storage of other systems in their exact formats, for the demo and for the tests: chains/ only reads them."""
