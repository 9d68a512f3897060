"""The pages that a person looks at, at the same addresses as the platform's web app."""
