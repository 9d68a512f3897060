"""The pages for a browser, one module for each kind of thing that they show."""
