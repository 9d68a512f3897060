"""The methods of :class:`~lightly_provider.hooks.lightly.LightlyHook`, by subject."""
