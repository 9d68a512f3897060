"""The verbs of :class:`~lightly_provider.hooks.lightly.LightlyHook`, by what they are about."""
