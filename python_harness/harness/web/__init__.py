"""A real browser, and the web pages that it opens in tests."""
