"""Measures avatars and videos against ground truth; `evaluation.schema` defines every figure."""
