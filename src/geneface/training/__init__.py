"""Training: the loop, the speech and motion networks (torch), the renderer (native), and whole avatars (`avatar`)."""
