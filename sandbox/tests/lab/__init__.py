"""What the tests do again and again: a running sandbox, a customer, a worker, videos, a bad network."""
