"""Training, by trade: `speech`, `motion` (torch, in `loop`), `adaptation` to a person (numpy), the renderers.

`gaussian` and `nerf` share `renderer`; `trainers` is the table of both, and `avatar` trains a whole avatar.
"""
