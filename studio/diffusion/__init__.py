"""From a request to pictures: plan (pure), encode, denoise, decode."""
