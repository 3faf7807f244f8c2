"""The live page: a running fit in the browser, drawn between its steps."""
